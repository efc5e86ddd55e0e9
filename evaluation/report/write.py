"""`report.html`: what a study found, in one file that opens without a network."""

import base64
import logging
import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2

from evaluation.analysis.finalists import finalist_rows, optimism_sentence, validation_setting, verdict
from evaluation.analysis.results import Results
from evaluation.embedders import label
from evaluation.figures import FIGURES, write_figures
from evaluation.formatting import p_value, points
from evaluation.report.explorer import explorer
from evaluation.report.search_view import search_view
from evaluation.scores.confidence import Interval
from evaluation.scores.protocols import ALL_IMAGES_K10, FEW_SHOT_500
from tune.algorithms.objective import METRIC_NAMES
from tune.space.display import SHOWN_PARAMS, param_name
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import CONFIG_PREFIX
from tune.storage.trial_status import category_text
from vae.atomic import write_text
from vae.data import Dataset
from vae.errors import StorageError

logger = logging.getLogger(__name__)

SEARCH_FIGURES = ["parallel_coordinates", "importance", "learning_curves", "rung_ladder"]
"""Figures of the trials, which have a section of their own; the first as one can touch it."""


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
    data = None
    try:
        data = None if dataset is None else explorer(run, results, dataset)
    except StorageError as error:  # the tables are worth more than what one can touch
        logger.warning("the report has no explorer: %s", error)
    write_text(render_report(results, run.figures_dir, data), run.report_file)


def render_report(results: Results, figures_dir: Path, explorer: Mapping[str, Any] | None = None) -> str:
    """Return the report as HTML; ``explorer`` is what `evaluation.report.explorer` gives."""
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
        "interval": _interval,
        "half": lambda bounds: f"{50 * (bounds[1] - bounds[0]):.1f}",
        "p_value": p_value,
        "objective": _objective,
    }
    finalists = finalist_rows(results)
    return environment.get_template("template.html.jinja").render(
        results=results,
        study=results.study or {},
        evaluation=results.evaluation or {},
        winner=results.winner_row,
        rivals=results.rivals,
        leads=[(row, lead) for row in results.rivals if (lead := results.lead(row.key))],
        structure=results.structure,
        finalists=finalists,
        fresh={finalist.row.key.trial_id: finalist.fresh for finalist in finalists if finalist.fresh},
        verdict=verdict(results),
        optimism=optimism_sentence(finalists),
        front=front_rows(results),
        metric_names=METRIC_NAMES,
        validation_setting=validation_setting(results),
        trials=results.trial_rows,
        shown_params={CONFIG_PREFIX + name: param_name(name) for name in SHOWN_PARAMS},
        fates=fates(results),
        figures=_figures(figures_dir),
        best=max((row.test for row in results.comparison if row.test is not None), default=None),
        explorer=explorer,
        search_view=search_view(results),
        search_figures=SEARCH_FIGURES,
        few=FEW_SHOT_500,
        full=ALL_IMAGES_K10,
        label=label,
    )


def front_rows(results: Results) -> list[dict[str, Any]]:
    """Return the trials on the Pareto front with the values of their objectives, best by the first first."""
    if len(results.objectives) < 2:
        return []
    table = results.objective_values
    front = table[table["pareto"] & (table["status"] == "completed")]
    trials = {row["trial_id"]: row for row in results.trial_rows}
    return [
        {"trial": trials[row["trial_id"]], "values": [row[name] for name in results.objectives]}
        for row in front.to_dict("records")
    ]


def fates(results: Results) -> dict[str, int]:
    """Return how many trials ended in which way, the most frequent first."""
    counts = Counter(category_text(row) for row in results.trial_rows)
    return dict(counts.most_common())


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
    return "–" if value is None else points(value)


def _interval(interval: Interval | None, name: str = "val_knn_accuracy") -> str:
    """Return a mean with half of its interval: shares in percent, other metrics as they are."""
    if interval is None:
        return "–"
    if name != "val_knn_accuracy":
        half = "" if interval.half_width is None else f" ± {interval.half_width:.2g}"
        return _objective(interval.mean, name) + half
    half = "" if interval.half_width is None else f" ± {100 * interval.half_width:.1f}"
    return f"{100 * interval.mean:.1f}{half} %".replace(" ", "\u00a0")  # on one line


def _objective(value: float | None, name: str) -> str:
    """Return the value of an objective."""
    if value is None:
        return "–"
    return _percent(value) if name == "val_knn_accuracy" else f"{value:.4g}"


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def _day(text: str | None) -> str:
    return "–" if text is None else f"{datetime.fromisoformat(text):%-d %B %Y, %H:%M} UTC"
