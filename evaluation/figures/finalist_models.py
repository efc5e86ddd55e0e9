"""The finalists' models and latents, as far as a run directory still has them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.analysis.results import Results
from evaluation.embedders import EmbeddingKey
from evaluation.embedders.files import embedding_file, read_embedding
from evaluation.figures.style import shown_name
from tune.storage.run_directory import RunDirectory
from vae.checkpoint import load_model
from vae.data import Dataset
from vae.inference import embed
from vae.models import VAE


@dataclass(frozen=True, slots=True, kw_only=True)
class BestVae:
    """The best finalist, on the CPU, and where it puts the training images: means (n, latent_dim)."""

    trial_id: str
    model: VAE
    kl_weight: float
    train_latents: NDArray[np.float32]


def best_vae(run: RunDirectory, results: Results, dataset: Dataset) -> BestVae | None:
    """Return the best finalist; None if its checkpoint is gone or made for other images.

    Raises
    ------
    StorageError
        Its checkpoint or its embedding is damaged.
    """
    directory = None if results.winner is None else _checkpoint(run, results, results.winner)
    if directory is None or results.winner is None:
        return None
    loaded = load_model(directory)
    if loaded.image_shape != dataset.test.image_shape:
        return None
    key = best_key(run, results)
    return BestVae(
        trial_id=results.winner,
        model=loaded.model,
        kl_weight=loaded.config.loss.kl_weight,
        train_latents=read_embedding(run.embeddings_dir, key).train
        if key is not None
        else embed(loaded.model, dataset.train.images).numpy(),
    )


def best_key(run: RunDirectory, results: Results) -> EmbeddingKey | None:
    """Return the key of the best finalist's embedding, as it was evaluated; None if there is none on disk."""
    trial_id = next(iter(results.finalists), results.winner)
    if trial_id is None:
        return None
    seed = results.own_seed(trial_id)
    for folder in run.embeddings_dir.glob("dim=*"):  # without labels there are no scores that name it
        key = EmbeddingKey("vae", int(folder.name.removeprefix("dim=")), trial_id, seed)
        if embedding_file(run.embeddings_dir, key).exists():
            return key
    return None


def models_by_loss(run: RunDirectory, results: Results) -> Iterator[tuple[str, VAE]]:
    """Yield the winner, then the best trial of each other reconstruction loss, with a name of two lines."""
    seen = set()
    ranked = results.ranked_trials.query("status == 'completed'")["trial_id"].tolist()
    for trial_id in dict.fromkeys([results.winner, *results.finalists, *ranked]):
        directory = None if trial_id is None else _checkpoint(run, results, trial_id)
        if directory is None:
            continue
        loaded = load_model(directory)
        loss = loaded.config.loss.reconstruction_loss
        if loss not in seen:
            seen.add(loss)
            yield f"{shown_name(trial_id)}\n{loss} loss, {loaded.config.model.latent_dim}-d", loaded.model


def _checkpoint(run: RunDirectory, results: Results, trial_id: str) -> Path | None:
    directory = run.checkpoint_dir(trial_id)
    if not directory.is_dir():  # a bare checkpoint, which stays where it was
        checkpoints = (results.evaluation and results.evaluation.checkpoints) or {}
        directory = Path(checkpoints.get(trial_id, directory))
    return directory if directory.is_dir() else None
