"""The images of a study: under a name or path, or arrays that its run directory keeps."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import DatasetRecord
from vae.data import Dataset, load_dataset
from vae.errors import UsageError

ARRAYS = "arrays"
"""What a dataset is called that was given as arrays."""


def load_images(run: RunDirectory, described: DatasetRecord) -> Dataset:
    """Return the images that a study was searched on, from its run directory or where it describes them.

    Raises
    ------
    UsageError
        What is found there are other images.
    StorageError
        A file cannot be read.
    """
    data_dir = None if described.data_dir is None else Path(described.data_dir)
    kept = run.images_file
    dataset = load_dataset(str(kept) if kept.exists() else described.path, data_dir)
    if dataset.fingerprint != described.fingerprint:
        raise UsageError(
            f"the dataset '{described.path}' is not the one that was searched: its fingerprint is "
            f"{dataset.fingerprint}, was {described.fingerprint}; give the right one's --data-dir"
        )
    return dataset


@contextmanager
def written_arrays(images: Any, labels: Any = None) -> Iterator[Path]:
    """Write arrays to a temporary `.npz`, the form in which a run directory keeps them."""
    with tempfile.TemporaryDirectory(prefix="vae-search-") as directory:
        file = Path(directory, f"{ARRAYS}.npz")
        arrays = {"images": _channels_last(images)}
        if labels is not None:
            arrays["labels"] = np.asarray(labels)
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's own option has a name that is none here
        yield file


def _channels_last(images: Any) -> np.ndarray:
    if isinstance(images, torch.Tensor):
        images = images.detach().cpu()
        return (images.permute(0, 2, 3, 1) if images.ndim == 4 else images).numpy()
    return np.asarray(images)
