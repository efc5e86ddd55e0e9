"""The images that trials see, one object in Ray's object store: train and validation, never the test set."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vae.data import Dataset, ImageSet
from vae.data.dataset import split_validation

# Neighbours are sought in a fixed, stratified sample of the training images: exact enough to rank trials, at
# the same cost each epoch whatever the dataset. The queries are the validation split, cut to the same size.
KNN_SAMPLES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialData:
    """Arrays, because Ray hands them to every worker of a node without a copy, unlike tensors.

    Images are uint8 (n, C, H, W), labels int64 (n,) or None; the indices are the rows that the KNN uses.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64] | None
    validation_images: NDArray[np.uint8]
    validation_labels: NDArray[np.int64] | None
    split_seed: int
    reference_index: NDArray[np.int64]
    query_index: NDArray[np.int64]

    @classmethod
    def from_dataset(cls, dataset: Dataset, *, seed: int) -> "TrialData":
        """Split the training set; the test set is left where it is."""
        split = split_validation(dataset.train, seed=seed)
        return cls(
            train_images=split.train.images.numpy(),
            train_labels=_numpy(split.train.labels),
            validation_images=split.validation.images.numpy(),
            validation_labels=_numpy(split.validation.labels),
            split_seed=seed,
            reference_index=_sample(split.train, seed),
            query_index=_sample(split.validation, seed),
        )

    @property
    def labelled(self) -> bool:
        return self.train_labels is not None

    def train(self, device: torch.device) -> ImageSet:
        """Return the training images on a device."""
        return _image_set(self.train_images, self.train_labels, device)

    def validation(self, device: torch.device) -> ImageSet:
        """Return the validation images on a device."""
        return _image_set(self.validation_images, self.validation_labels, device)


def _sample(images: ImageSet, seed: int) -> NDArray[np.int64]:
    """Return at most `KNN_SAMPLES` sorted rows, each class in proportion."""
    n = len(images)
    if n <= KNN_SAMPLES:
        return np.arange(n)
    order = np.random.default_rng(seed).permutation(n)
    if images.labels is not None:
        order = order[np.argsort(images.labels.numpy()[order], kind="stable")]
    # Evenly spaced positions among rows that are grouped by class take as much of each class.
    return np.sort(order[np.linspace(0, n - 1, KNN_SAMPLES).round().astype(np.int64)])


def _numpy(labels: torch.Tensor | None) -> NDArray[np.int64] | None:
    return None if labels is None else labels.numpy()


def _image_set(images: NDArray[np.uint8], labels: NDArray[np.int64] | None, device: torch.device) -> ImageSet:
    with warnings.catch_warnings():
        # Arrays from the object store are read-only, and torch warns. Nothing writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return ImageSet(
            torch.from_numpy(images).to(device),
            None if labels is None else torch.from_numpy(labels).to(device),
        )
