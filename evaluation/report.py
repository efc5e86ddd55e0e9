"""`report.html`: what a study found, in one file that opens without a network."""

import base64
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from evaluation.embedders import EmbeddingKey
from evaluation.figures import FIGURES, write_figures
from evaluation.results import FEW, FULL, Results, Setting
from evaluation.run_directory import RunDirectory
from evaluation.tables import CONFIG_PREFIX
from vae.atomic import write_text
from vae.data import Dataset

SHOWN_PARAMS = {
    "architecture": "architecture",
    "latent_dim": "latent dim",
    "reconstruction_loss": "loss",
    "kl_weight": "KL weight",
    "learning_rate": "learning rate",
    "batch_size": "batch",
}
"""Hyperparameters that the tables show, and the headings of their columns."""

METHOD_NAMES = {"raw": "raw pixels", "pca": "PCA", "umap": "UMAP", "vae": "VAE"}


def write_report(run: RunDirectory, dataset: Dataset | None = None) -> None:
    """Draw the figures and write the report, from whatever the run directory holds.

    Parameters
    ----------
    run
        A study, evaluated or not, or the output of an evaluation of bare checkpoints.
    dataset
        Its images; without them there are no reconstructions and no latent spaces.

    Raises
    ------
    StorageError
        A table is damaged, or the report cannot be written.
    """
    results = Results.read(run)
    write_figures(run, results, dataset)
    write_text(render_report(results, run.figures_dir), run.report_file)


def render_report(results: Results, figures_dir: Path) -> str:
    """Return the report as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "number": _number,
        "duration": duration,
        "day": _day,
        "points": _points,
    }
    return environment.get_template("report.html.jinja").render(
        results=results,
        study=results.study or {},
        evaluation=results.evaluation or {},
        winner=results.winner_row,
        baselines=[row for method in ("raw", "pca", "umap") if (row := results.baseline(method))],
        finalists=finalist_rows(results),
        validation_setting=validation_setting(results),
        trials=trial_rows(results),
        shown_params=SHOWN_PARAMS,
        fates=fates(results),
        figures=_figures(figures_dir),
        best=max((row.test for row in results.comparison if row.test is not None), default=None),
        few=FEW,
        full=FULL,
        label=label,
    )


def label(key: EmbeddingKey) -> str:
    """Return an embedding's method as a reader calls it."""
    return METHOD_NAMES.get(key.method, key.method) + (f" {key.trial_id}" if key.trial_id else "")


def trial_rows(results: Results) -> list[dict[str, Any]]:
    """Return the trials, best first, with None for what is missing and their params under ``params``."""
    table = results.ranked_trials.astype(object)
    rows: list[dict[str, Any]] = [
        {str(name): value for name, value in row.items()}
        for row in table.where(table.notna(), None).to_dict("records")
    ]
    return [row | {"params": {name: row[CONFIG_PREFIX + name] for name in SHOWN_PARAMS}} for row in rows]


def finalist_rows(results: Results) -> list[dict[str, Any]]:
    """Return the finalists with their validation accuracy beside those on the test set."""
    trials = {row["trial_id"]: row for row in trial_rows(results)}
    setting = validation_setting(results)
    rows = []
    for row in results.comparison:
        if row.key.trial_id is None:
            continue
        trial = trials.get(row.key.trial_id, {})
        # A lost scoring task may have left no test row.
        like_validation = next(iter(results.accuracies(row.key, "test", setting)), None) if setting else None
        validation = trial.get("val_knn_accuracy")
        optimism = None if validation is None or like_validation is None else validation - like_validation
        rows.append(
            {
                "row": row,
                "trial": trial,
                "validation": validation,
                "like": like_validation,
                "optimism": optimism,
            }
        )
    return rows


def validation_setting(results: Results) -> Setting | None:
    """Return the test cell with as many references as the search's validation had."""
    n_references = (results.study or {}).get("knn_references")
    tested = results.evaluations.query("protocol == 'test'")
    if n_references is None or tested.empty:
        return None
    closest = tested.loc[(tested["n_train"] - n_references).abs().idxmin(), "samples_per_class"]
    return Setting(None if pd.isna(closest) else int(closest), FULL.n_neighbors, FULL.weights)


def fates(results: Results) -> dict[str, int]:
    """Return how many trials ended in which way, the most frequent first."""
    reasons = {"rung": "not good enough at a rung", "oom": "out of memory", "time_budget": "time was up"}
    counts: dict[str, int] = {}
    for row in trial_rows(results):
        fate = row["status"].replace("_", " ")
        if row["stop_reason"]:
            fate += f": {reasons.get(row['stop_reason'], row['stop_reason'])}"
        counts[fate] = counts.get(fate, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def duration(seconds: float | None) -> str:
    """Return a time as a reader says it."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _figures(directory: Path) -> list[dict[str, str]]:
    return [
        {"name": name, "caption": caption, "data": base64.b64encode(path.read_bytes()).decode()}
        for name, caption in FIGURES.items()
        if (path := directory / f"{name}.png").exists()
    ]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}".replace("%", " %")


def _points(value: float | None) -> str:
    """Return a difference of two shares in percentage points."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def _day(text: str | None) -> str:
    return "–" if text is None else f"{datetime.fromisoformat(text):%-d %B %Y, %H:%M} UTC"
