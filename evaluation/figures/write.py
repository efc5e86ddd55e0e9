"""Draw every figure that the files of a run directory allow, and write them as PNG."""

import logging
from collections.abc import Callable
from functools import cache

from matplotlib.figure import Figure

from evaluation.figures.accuracy import draw_accuracy
from evaluation.figures.confusion import draw_confusion
from evaluation.figures.finalist_models import BestVae, best_vae, models_by_loss
from evaluation.figures.interpolations import draw_interpolations
from evaluation.figures.latent_spaces import draw_latent_spaces, latent_space_panels
from evaluation.figures.learning_curves import draw_learning_curves
from evaluation.figures.pareto import draw_pareto
from evaluation.figures.reconstructions import draw_reconstructions
from evaluation.figures.samples import draw_samples
from evaluation.figures.style import house_style
from evaluation.figures.traversals import draw_traversals
from evaluation.results import Results
from evaluation.run_directory import RunDirectory
from vae.atomic import replaced_file
from vae.data import Dataset

logger = logging.getLogger(__name__)

FIGURES = {
    "latent_spaces": "The test images in two dimensions, coloured by class.",
    "reconstructions": "One test image of each class, and what the VAEs make of it.",
    "samples": "What the best VAE makes of random latents: of its prior, and of a Gaussian fitted to where "
    "the training images lie, which is another place when the KL weight is low.",
    "interpolations": "Pairs of test images, of two classes where classes are known, and what the best VAE "
    "decodes along the straight line between their latent means.",
    "traversals": "The most active latent dimensions of the best VAE, each moved alone; the others stay "
    "those of one test image, and a frame marks where that image itself lies.",
    "accuracy": "KNN accuracy on the sealed test set.",
    "confusion": "Test images of each class, and what their nearest training images in the best VAE's latent "
    "space take them for.",
    "learning_curves": "Every trial of the search, epoch by epoch.",
    "pareto": "Every trial by its first two objectives, and the front that none of them beats.",
}
"""Name of each figure and its caption, in the report's order."""


def write_figures(run: RunDirectory, results: Results, dataset: Dataset | None = None) -> None:
    """Write the figures that there is something to draw for; one that fails is logged and the rest drawn.

    Parameters
    ----------
    run
        Where embeddings and checkpoints are read and figures written.
    results
        Its tables.
    dataset
        Its images; without them there are no latent spaces and nothing that a VAE decodes.
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
        "confusion": lambda: draw_confusion(results, dataset.class_names) if dataset is not None else None,
        "learning_curves": lambda: _learning_curves(results),
        "pareto": lambda: _pareto(results),
    }
    for name, draw in drawings.items():
        with house_style():
            try:
                file = run.figures_dir / f"{name}.png"
                file.unlink(missing_ok=True)  # of an older evaluation, with other results
                figure = draw()
                if figure is not None:
                    with replaced_file(file) as path:
                        figure.savefig(path)
            except Exception as error:  # the tables are worth more than a picture of them
                logger.warning("the figure %s is missing: %s", name, error)
                logger.debug("the figure %s failed", name, exc_info=True)


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
