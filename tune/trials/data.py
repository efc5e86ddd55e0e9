"""The images that trials see, one object in Ray's object store: train and validation, never the test set."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vae.data import Dataset, ImageSet
from vae.data.splits import split_validation
from vae.metrics.validation_knn import ValidationKnn, sample_rows


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
    fingerprint: str | None = None
    """Of the data set."""
    resize: int | None = None
    """What its images were resized to, see `vae.data.load_dataset`; None if they were not."""

    @classmethod
    def from_dataset(cls, dataset: Dataset, *, seed: int) -> "TrialData":
        """Split the training set; the test set is not touched."""
        split = split_validation(dataset.train, seed=seed)
        return cls(
            train_images=split.train.images.numpy(),
            train_labels=_numpy(split.train.labels),
            validation_images=split.validation.images.numpy(),
            validation_labels=_numpy(split.validation.labels),
            split_seed=seed,
            reference_index=sample_rows(split.train, seed),
            query_index=sample_rows(split.validation, seed),
            fingerprint=dataset.fingerprint,
            resize=dataset.resize,
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

    def knn(self, device: torch.device) -> ValidationKnn | None:
        """Return what measures the KNN accuracy of a trial's model on a device; None without labels."""
        if not self.labelled:
            return None
        train, validation = self.train(device), self.validation(device)
        return ValidationKnn(_rows(train, self.reference_index), _rows(validation, self.query_index))


def _rows(images: ImageSet, index: NDArray[np.int64]) -> ImageSet:
    return images.subset(torch.tensor(index, device=images.images.device))


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
