"""Some of the test images of an evaluation, with what is known of each, for tools that show them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from evaluation.analysis.results import Results
from evaluation.embedders import EmbeddingKey
from evaluation.embedders.files import embedding_file
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table
from vae.data import load_dataset
from vae.errors import UsageError


@dataclass(frozen=True, slots=True)
class ImageSample:
    """Rows ``index`` (n,) of the test part, their classes by name and images uint8 (n, C, H, W), or None.

    ``results`` are those of the run, ``keys`` the embeddings on disk that hold the images.
    """

    results: Results
    keys: list[EmbeddingKey]
    index: NDArray[np.int64]
    classes: list[str] | None
    images: NDArray[np.uint8] | None
    sources: list[str] | None = None
    """Where each image is from; None if the evaluation does not say it."""

    def columns(self) -> dict[str, list[Any]]:
        """Return source and class of each image, and what KNN predicts in the best VAE's latent space."""
        columns = {} if self.sources is None else {"source": self.sources}
        if self.classes is None:
            return columns
        columns["class"] = self.classes
        assert self.results.evaluation is not None
        names = self.results.evaluation.dataset.class_names
        winner = self.results.comparison.winner
        if winner is not None:
            predicted = self.results.scores.predictions_of(winner.key).set_index("index")["predicted"]
            if np.isin(self.index, predicted.index).all():
                columns["predicted"] = [names[label] for label in predicted.reindex(self.index)]
        return columns


def sample_images(
    run: RunDirectory, at_most: int, *, dataset: str | None = None, data_dir: Path | None = None
) -> ImageSample:
    """Return ``at_most`` test images from all over those of a run, always the same.

    The dataset is asked for by name or path, and its directory, if they are not where the evaluation found
    them.

    Raises
    ------
    UsageError
        The run is not evaluated, or the images are others.
    StorageError
        A file cannot be read.
    """
    results = Results.read(run)
    run.fetch(run.embeddings_dir)
    keys = [key for key in results.comparison.keys if embedding_file(run.embeddings_dir, key).exists()]
    if results.evaluation is None or not keys:
        raise UsageError(f"{run.location} has no embeddings yet; say `python -m evaluation {run.location}`")
    table = read_table(embedding_file(run.embeddings_dir, keys[0]))
    table = table.filter(pc.equal(table["split"], "test"))
    labels = table["label"]
    index = np.sort(np.random.default_rng(0).permutation(len(labels))[:at_most])
    classes = None
    if labels.null_count == 0:
        names = results.evaluation.dataset.class_names
        classes = [names[label] for label in labels.to_numpy()[index]]
    sources = None
    if "source" in table.column_names and table["source"].null_count == 0:  # an older version has none
        sources = table["source"].take(index).to_pylist()
    images = _images(run, results, dataset, data_dir, index)
    return ImageSample(results, keys, index, classes, images, sources)


def _images(
    run: RunDirectory, results: Results, name: str | None, data_dir: Path | None, index: NDArray[np.int64]
) -> NDArray[np.uint8] | None:
    assert results.evaluation is not None
    searched, fingerprint = results.study and results.study.dataset, results.evaluation.dataset.fingerprint
    if searched:
        fingerprint = searched.fingerprint
        found = str(run.images_file) if run.images_file.exists() else searched.path  # arrays are kept there
    elif name is None and results.evaluation.checkpoints is None:
        return None  # an embedding that came without images
    else:
        found = results.evaluation.dataset.name
    where = data_dir or (Path(searched.data_dir) if searched and searched.data_dir else None)
    resize = searched.resize if searched else results.evaluation.dataset.resize
    dataset = load_dataset(name or found, where, resize=resize)
    if dataset.fingerprint != fingerprint:
        raise UsageError(
            f"the dataset '{dataset.name}' is not the one that was evaluated: its fingerprint is "
            f"{dataset.fingerprint}, was {fingerprint}; name the right one with --dataset"
        )
    return dataset.test.images[torch.tensor(index)].numpy()
