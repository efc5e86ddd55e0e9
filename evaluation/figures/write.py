"""Draw every figure that the files of a run directory allow, and write them as PNG and as SVG."""

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from evaluation.analysis.dimensions import accuracy_by_dimension
from evaluation.analysis.importance import adaptive_sampler, importances
from evaluation.analysis.judged_rungs import judged_rungs
from evaluation.analysis.results import Results
from evaluation.figures.accuracy import draw_accuracy
from evaluation.figures.confusion import draw_confusion
from evaluation.figures.dimensions import draw_dimensions
from evaluation.figures.finalist_models import BestVae, best_vae, models_by_loss
from evaluation.figures.importance import draw_importance
from evaluation.figures.interpolations import draw_interpolations
from evaluation.figures.latent_spaces import draw_latent_spaces, latent_space_panels
from evaluation.figures.learning_curves import draw_learning_curves
from evaluation.figures.parallel_coordinates import draw_parallel_coordinates, parallel_coordinates
from evaluation.figures.pareto import draw_pareto
from evaluation.figures.reconstructions import draw_reconstructions
from evaluation.figures.rung_ladder import draw_rung_ladder
from evaluation.figures.samples import draw_samples
from evaluation.figures.style import house_style
from evaluation.figures.traversals import draw_traversals
from tune.storage.run_directory import RunDirectory
from vae.atomic import replaced_file
from vae.data import Dataset

logger = logging.getLogger(__name__)

FIGURES = {
    "latent_spaces": "The test images in two dimensions, coloured by class.",
    "reconstructions": "Test images, one of each class where classes are known, and what the VAEs make of "
    "them.",
    "samples": "What the best VAE makes of random latents: of its prior, and of a Gaussian fitted to where "
    "the training images lie, which is another place when the KL weight is low.",
    "interpolations": "Pairs of test images, of two classes where classes are known, and what the best VAE "
    "decodes along the straight line between their latent means.",
    "traversals": "The most active latent dimensions of the best VAE, each moved alone; the others stay "
    "those of one test image, and a frame marks where that image itself lies.",
    "accuracy": "KNN accuracy on the held-out test set.",
    "dimensions": "KNN accuracy on the held-out test set against the number of dimensions: the best finalist "
    "of each, PCA and UMAP, with the same images and neighbours and 95 % intervals over the test images. The "
    "ring is the smallest VAE that cannot be told from the best.",
    "confusion": "Test images of each class, and what their nearest training images in the best VAE's latent "
    "space take them for.",
    "parallel_coordinates": "Every trial as a line from its hyperparameters to its objective, better is up; "
    "those that were stopped early are faint.",
    "importance": "How much each hyperparameter decides whether a trial is among the best quarter: Optuna's "
    "PED-ANOVA, based on the trials that completed, were stopped at a rung, diverged or collapsed. The "
    "further one came, the better it counts. Errors and trials that were cut short are left out.",
    "learning_curves": "Every trial of the search, by how it ended. The winner's dot is its best report, by "
    "which trials are ranked and whose checkpoint is kept. Quick looks, at fewer images, stand alone.",
    "rung_ladder": "Who was judged at each rung, and who continued. A trial is judged when it arrives, among "
    "those that came before it: the first had another cutoff to reach than the last, the dashed line.",
    "pareto": "Every trial by its first two objectives, and the front that none of them beats.",
}
"""Name of each figure and its caption, in the report's order."""
SEARCH_FIGURES = ("parallel_coordinates", "importance", "learning_curves", "rung_ladder", "pareto")
"""Those of the trials; the others are of an evaluation."""
RANDOM_ONLY = (
    " The level of chance assumes that configurations were drawn at random. The sampler of this study, "
    "{sampler}, proposes more of what was good before, so that a hyperparameter that matters can have a "
    "short bar, and one that does not a long one: take the figure as a hint, not as a test."
)
"""What the caption of `importance` adds for every other sampler."""


def caption(name: str, results: Results) -> str:
    """Return the caption of a figure, with what limits it in this study."""
    text = FIGURES[name]
    if name == "importance" and (sampler := adaptive_sampler(results)):
        text += RANDOM_ONLY.format(sampler=sampler)
    if results.outdated and name not in SEARCH_FIGURES:
        text = f"Of the earlier evaluation. {text}"
    return text


_SAVED: dict[str, dict[str, Any]] = {
    "png": {},
    # What is drawn in pixels has fewer of them here: a paper shows the figure smaller, and a file of latent
    # spaces stays below 1 MB. No date: the same figure is the same file.
    "svg": {"dpi": 120, "metadata": {"Date": None}},
}
"""The formats, and how each is saved."""


def write_figures(
    run: RunDirectory, results: Results, dataset: Dataset | None = None, *, search_only: bool = False
) -> None:
    """Write the figures that there is something to draw for; one that fails is logged and the rest drawn.

    Without a dataset there are no latent spaces and nothing that a VAE decodes. With ``search_only``, and
    where the evaluation is outdated, its figures stay what they are.
    """

    @cache
    def best() -> BestVae | None:
        return None if dataset is None else best_vae(run, results, dataset)

    def of_best(draw: Callable[[Dataset, BestVae], Figure | None]) -> Figure | None:
        return draw(dataset, vae) if dataset is not None and (vae := best()) is not None else None

    drawings: dict[str, Callable[[], Figure | None]] = {
        "latent_spaces": lambda: _latent_spaces(run, results, dataset),
        "reconstructions": lambda: _reconstructions(run, results, dataset),
        "samples": lambda: of_best(lambda _, vae: draw_samples(vae)),
        "interpolations": lambda: of_best(draw_interpolations),
        "traversals": lambda: of_best(draw_traversals),
        "accuracy": lambda: draw_accuracy(results) if results.scored else None,
        "dimensions": lambda: draw_dimensions(results) if accuracy_by_dimension(results) else None,
        "confusion": lambda: draw_confusion(results, dataset.class_names) if dataset is not None else None,
        "parallel_coordinates": lambda: (
            draw_parallel_coordinates(results, view) if (view := parallel_coordinates(results)) else None
        ),
        "importance": lambda: (
            draw_importance(found, adaptive_sampler(results)) if (found := importances(results)) else None
        ),
        "learning_curves": lambda: _learning_curves(results),
        "rung_ladder": lambda: draw_rung_ladder(results, rungs) if (rungs := judged_rungs(results)) else None,
        "pareto": lambda: _pareto(results),
    }
    if search_only or results.outdated:
        drawings = {name: draw for name, draw in drawings.items() if name in SEARCH_FIGURES}
    for name, draw in drawings.items():
        with house_style():
            try:
                for kind in _SAVED:  # of an older evaluation, with other results
                    (run.figures_dir / f"{name}.{kind}").unlink(missing_ok=True)
                figure = draw()
                if figure is not None:
                    save_figure(figure, run.figures_dir, name)
            except Exception as error:  # the tables are worth more than a picture of them
                logger.warning("the figure %s is missing: %s", name, error)
                logger.debug("the figure %s failed", name, exc_info=True)


def save_figure(figure: Figure, directory: Path, name: str) -> None:
    """Write a figure in both formats; call it in `house_style`, which says how letters are written."""
    for kind, settings in _SAVED.items():
        with replaced_file(directory / f"{name}.{kind}") as path:
            figure.savefig(path, format=kind, **settings)


def _learning_curves(results: Results) -> Figure | None:
    metric = results.objectives[0]
    if metric not in results.epochs or not results.epochs[metric].notna().any():
        return None
    return draw_learning_curves(results)


def _pareto(results: Results) -> Figure | None:
    if len(results.objectives) < 2 or not (results.objective_values["status"] == "completed").any():
        return None
    return draw_pareto(results)


def _latent_spaces(run: RunDirectory, results: Results, dataset: Dataset | None) -> Figure | None:
    if dataset is None or not (panels := latent_space_panels(run, results)):
        return None
    labels = dataset.test.labels
    return draw_latent_spaces(panels, None if labels is None else labels.numpy(), dataset.class_names)


def _reconstructions(run: RunDirectory, results: Results, dataset: Dataset | None) -> Figure | None:
    if dataset is None or results.winner is None:
        return None
    models = {
        name: model
        for name, model in models_by_loss(run, results)
        if model.image_shape == dataset.test.image_shape
    }
    return draw_reconstructions(dataset, models) if models else None
