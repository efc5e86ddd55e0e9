"""`report.html`: what a study found, in one file that opens without a network."""

import base64
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from evaluation.analysis.finalists import finalist_rows, unselected_optimism
from evaluation.analysis.gain import gain_sentence
from evaluation.analysis.results import Results
from evaluation.analysis.statements import (
    dimensions_sentence,
    extension_sentence,
    labels_sentence,
    optimism_sentence,
    verdict,
)
from evaluation.embedders import label
from evaluation.embedders.files import embedding_file
from evaluation.figures import FIGURES, SEARCH_FIGURES, write_figures
from evaluation.figures.write import caption
from evaluation.formatting import (
    day,
    interval,
    mean_and_spread,
    number,
    objective_value,
    p_value,
    percent_or_missing,
    points,
    share_and_interval,
    unbroken,
)
from evaluation.report.explorer import explorer
from evaluation.report.search_view import search_view
from evaluation.scores.settings import ALL_IMAGES_K10, FEW_SHOT_500
from tune.algorithms.objective import METRIC_NAMES
from tune.space.display import SHOWN_PARAMS, duration_text, param_name
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import CONFIG_PREFIX
from tune.storage.trial_status import category_text
from vae.atomic import write_text
from vae.data import Dataset
from vae.errors import StorageError

logger = logging.getLogger(__name__)


def write_report(run: RunDirectory, dataset: Dataset | None = None, *, search_only: bool = False) -> None:
    """Draw the figures and write the report, from whatever the run directory holds.

    Without a dataset there are no reconstructions and no latent spaces. With ``search_only`` the figures of
    an earlier evaluation are not drawn again, but kept.

    Raises
    ------
    StorageError
        A table is damaged, or the report cannot be written.
    """
    results = Results.read(run)
    if search_only:
        _fetch_evaluation(run, results)
    write_figures(run, results, dataset, search_only=search_only)
    data = None
    try:
        data = None if dataset is None else explorer(run, results, dataset)
    except StorageError as error:  # the tables are worth more than the interactive part
        logger.warning("the report has no interactive latent spaces: %s", error)
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
        "percent": _unbroken(percent_or_missing),
        "number": number,
        "duration": _unbroken(duration_text),
        "day": day,
        "points": points,
        "interval": _unbroken(interval),
        "mean_and_spread": _unbroken(mean_and_spread),
        "share_and_interval": _unbroken(share_and_interval),
        "p_value": _unbroken(p_value),
        "objective": _unbroken(objective_value),
        "outcome": category_text,
    }
    finalists, comparison = finalist_rows(results), results.comparison
    return environment.get_template("template.html.jinja").render(
        results=results,
        study=results.study or {},
        evaluation=results.evaluation or {},
        winner=comparison.winner,
        baselines=comparison.baselines,
        differences=[
            (row, found) for row in comparison.baselines if (found := comparison.difference_to(row.key))
        ],
        structure=comparison.structure,
        finalists=finalists,
        fresh={finalist.row.key.trial_id: finalist.fresh for finalist in finalists if finalist.fresh},
        verdict=verdict(results),
        gain=gain_sentence(results),
        dimensions=dimensions_sentence(results),
        labels_sentence=labels_sentence(results),
        extension=extension_sentence(results),
        optimism=optimism_sentence(finalists, unselected_optimism(results)),
        front=front_rows(results),
        metric_names=METRIC_NAMES,
        trials=results.trial_rows,
        shown_params={CONFIG_PREFIX + name: param_name(name) for name in SHOWN_PARAMS},
        outcome_counts=outcome_counts(results),
        figures=_figures(results, figures_dir),
        best=max((row.test for row in comparison if row.test is not None), default=None),
        explorer=explorer,
        search_view=search_view(results),
        search_figures=[name for name in SEARCH_FIGURES if name != "pareto"],
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


def outcome_counts(results: Results) -> dict[str, int]:
    """Return how many trials ended in which way, the most frequent first."""
    counts = Counter(category_text(row) for row in results.trial_rows)
    return dict(counts.most_common())


def _figures(results: Results, directory: Path) -> list[dict[str, str]]:
    return [
        {
            "name": name,
            "caption": caption(name, results),
            "data": base64.b64encode(path.read_bytes()).decode(),
        }
        for name in FIGURES
        if (path := directory / f"{name}.png").exists()
    ]


def _fetch_evaluation(run: RunDirectory, results: Results) -> None:
    """Make sure that what the report shows of an earlier evaluation is here, if the run is under a URI."""
    best = results.finalists[:1]
    shown = [
        key for key in results.scores.keys if key.dim == 2 or (key.method == "vae" and key.trial_id in best)
    ]
    run.fetch(run.figures_dir, *(embedding_file(run.embeddings_dir, key).parent for key in shown))


def _unbroken(write: Callable[..., str]) -> Callable[..., str]:
    """Return a filter whose text a browser does not wrap."""
    return lambda *values: unbroken(write(*values))
