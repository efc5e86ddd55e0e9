"""Draw every figure that the files of a run directory allow, and write them as PNG."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from matplotlib.figure import Figure

from evaluation.embedders import EmbeddingKey
from evaluation.embedding_files import embedding_file, read_embedding
from evaluation.figures.accuracy import draw_accuracy
from evaluation.figures.latent_spaces import Panel, draw_latent_spaces, panel
from evaluation.figures.learning_curves import draw_learning_curves
from evaluation.figures.pareto import draw_pareto
from evaluation.figures.reconstructions import draw_reconstructions
from evaluation.figures.style import house_style
from evaluation.results import Results
from evaluation.run_directory import RunDirectory
from vae.atomic import replaced_file
from vae.checkpoint import load_model
from vae.data import Dataset
from vae.models import VAE

logger = logging.getLogger(__name__)

FIGURES = {
    "latent_spaces": "The test images in two dimensions, coloured by class.",
    "reconstructions": "One test image of each class, and what the VAEs make of it.",
    "accuracy": "KNN accuracy on the sealed test set.",
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
        Its images; without them there are no reconstructions and no latent spaces.
    """
    drawings: dict[str, Callable[[], Figure | None]] = {
        "latent_spaces": lambda: _latent_spaces(run, results, dataset),
        "reconstructions": lambda: _reconstructions(run, results, dataset),
        "accuracy": lambda: draw_accuracy(results) if len(results.evaluations) else None,
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
    if dataset is None:
        return None
    keys = [("PCA", EmbeddingKey("pca", 2)), ("UMAP", EmbeddingKey("umap", 2))]
    if results.winner is not None and (key := _winner_key(run, results, results.winner)):
        keys.append((f"VAE {results.winner}", key))
    panels: list[Panel] = [
        panel(title, read_embedding(run.embeddings_dir, key), winner=key.method == "vae")
        for title, key in keys
        if embedding_file(run.embeddings_dir, key).exists()
    ]
    labels = dataset.test.labels
    if not panels:
        return None
    return draw_latent_spaces(panels, None if labels is None else labels.numpy(), dataset.class_names)


def _reconstructions(run: RunDirectory, results: Results, dataset: Dataset | None) -> Figure | None:
    if dataset is None or results.winner is None:
        return None
    models = {
        name: model for name, model in _models(run, results) if model.image_shape == dataset.test.image_shape
    }
    return draw_reconstructions(dataset, models) if models else None


def _models(run: RunDirectory, results: Results) -> Iterator[tuple[str, VAE]]:
    """Yield the winner, then the best trial of each other reconstruction loss, with a name of two lines."""
    seen = set()
    checkpoints = (results.evaluation or {}).get("checkpoints", {})
    ranked = results.ranked_trials.query("status == 'completed'")["trial_id"].tolist()
    for trial_id in dict.fromkeys([results.winner, *results.finalists, *ranked]):
        directory = run.checkpoint_dir(trial_id)
        if not directory.is_dir():  # a bare checkpoint, which stays where it was
            directory = Path(checkpoints.get(trial_id, directory))
        if not directory.is_dir():
            continue
        loaded = load_model(directory)
        loss = loaded.config.loss.reconstruction_loss
        if loss not in seen:
            seen.add(loss)
            yield f"{trial_id}\n{loss} loss, {loaded.config.model.latent_dim}-d", loaded.model


def _winner_key(run: RunDirectory, results: Results, trial_id: str) -> EmbeddingKey | None:
    seed = results.own_seed(trial_id)
    for folder in run.embeddings_dir.glob("dim=*"):  # without labels there are no scores that name it
        key = EmbeddingKey("vae", int(folder.name.removeprefix("dim=")), trial_id, seed)
        if embedding_file(run.embeddings_dir, key).exists():
            return key
    return None
