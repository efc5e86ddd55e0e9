"""Sets of images and their splits into parts or folds: alike in classes, and whole groups on one side."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, train_test_split
from torch import Tensor

from vae.data.memory import take_rows
from vae.errors import UsageError, count_text

HOLDOUT_SEED = 20_170_825  # day that Fashion-MNIST appeared; fixed: the test part must never change
HOLDOUT_FRACTION = 0.2
NEAR_COPY = 0.2
"""Two images are near copies if their distance in pixels is at most this share of that of two chance ones."""
NEAR_COPY_SAMPLE = 200
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images uint8 (n, C, H, W) with labels int64 (n,), or None, and groups int64 (n,), or None.

    Images of one group (a patient, a video, a photograph) stay together whenever a set is split.
    """

    images: Tensor
    labels: Tensor | None
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        assert self.images.dtype == torch.uint8, self.images.dtype
        assert self.images.ndim == 4, self.images.shape
        for values in (self.labels, self.groups):
            assert values is None or values.shape == (len(self.images),), values.shape

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def n_classes(self) -> int:
        """One more than the highest label; 0 without labels."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def subset(self, index: Tensor) -> "ImageSet":
        """The rows of `index` (integers or a mask), in its order."""
        return ImageSet(
            take_rows(self.images, index),
            None if self.labels is None else self.labels[index],
            None if self.groups is None else self.groups[index],
        )

    def to(self, device: str | torch.device) -> "ImageSet":
        return ImageSet(
            self.images.to(device),
            None if self.labels is None else self.labels.to(device),
            None if self.groups is None else self.groups.to(device),
        )


@dataclass(frozen=True, eq=False)
class Sources:
    """Where each image of a part is from: the name of its file, or its row in an array of that name.

    Texts are made when they are asked for.

    Examples
    --------
    >>> Sources.of_rows("images", 4).subset(np.array([3, 0])).to_list()
    ['images/3', 'images/0']
    """

    names: Sequence[str] | str
    rows: NDArray[np.int64]

    @classmethod
    def of_rows(cls, array: str, n: int) -> "Sources":
        """Return those of the first ``n`` rows of an array."""
        return cls(array, np.arange(n))

    @classmethod
    def of_files(cls, names: Sequence[str]) -> "Sources":
        return cls(names, np.arange(len(names)))

    def subset(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "Sources":
        return Sources(self.names, self.rows[index])

    def to_list(self) -> list[str]:
        if isinstance(self.names, str):
            return [f"{self.names}/{row}" for row in self.rows.tolist()]
        return [self.names[row] for row in self.rows.tolist()]


@dataclass(frozen=True, eq=False)
class Split:
    """Train and validation parts, and their rows (sorted) in the set that was split."""

    train: ImageSet
    validation: ImageSet
    train_index: Tensor
    validation_index: Tensor


def split_validation(images: ImageSet, *, seed: int, fraction: float = 1 / 6) -> Split:
    """Split off a random validation part, stratified by class when there are labels; same seed, same split.

    Groups stay whole, so that with them the part has only about that size.

    Raises
    ------
    UsageError
        `fraction` outside (0, 1), or too few images or groups for each class to be in both parts.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"validation fraction must be between 0 and 1, got {fraction:g}")
    labels, groups = (None if v is None else v.cpu().numpy() for v in (images.labels, images.groups))
    rows = stratified_rows(len(images), labels, fraction, seed, groups)
    train_index, validation_index = (torch.from_numpy(part).to(images.images.device) for part in rows)
    return Split(images.subset(train_index), images.subset(validation_index), train_index, validation_index)


def hold_out_test(images: ImageSet) -> Split:
    """Split off a fifth as the test part, always the same."""
    return split_validation(images, seed=HOLDOUT_SEED, fraction=HOLDOUT_FRACTION)


def stratified_rows(
    n: int, labels: Rows | None, fraction: float, seed: int, groups: Rows | None = None
) -> tuple[Rows, Rows]:
    """Return sorted rows of the larger and the smaller part, ``fraction`` of the ``n``, alike in classes."""
    n_split = round(n * fraction)
    n_classes = 1
    if labels is not None:
        classes, counts = np.unique(labels, return_counts=True)
        n_classes = len(classes)
        if counts.min() < 2:
            raise UsageError(
                f"cannot split: class {classes[counts.argmin()]} has 1 image, must be >= 2; "
                "add images or drop the class"
            )
    if min(n_split, n - n_split) < n_classes:
        raise UsageError(
            f"cannot split {count_text(n, 'image')} of {count_text(n_classes, 'class')} into {n - n_split} "
            f"and {n_split}: each part needs one image of each class; add images or change the fraction"
        )
    if groups is not None:
        return _grouped_rows(np.zeros(n, np.int64) if labels is None else labels, groups, fraction, seed)
    larger, smaller = train_test_split(np.arange(n), test_size=n_split, random_state=seed, stratify=labels)
    return np.sort(larger), np.sort(smaller)


def group_folds(labels: Rows, groups: Rows, n_folds: int, seed: int) -> Rows:
    """Return the fold (n,), from 0, of each row: groups stay whole, classes are alike as far as they allow.

    Examples
    --------
    >>> folds = group_folds(np.array([0, 1] * 4), np.arange(8) // 2, n_folds=2, seed=0)
    >>> bool((folds[::2] == folds[1::2]).all())
    True
    """
    folds = np.zeros(len(labels), dtype=np.int64)
    for fold, rows in enumerate(_folds(labels, groups, n_folds, seed)):
        folds[rows] = fold
    return folds


def _grouped_rows(labels: Rows, groups: Rows, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Return the fold whose classes come nearest to ``fraction`` of theirs, and all the others."""
    classes, counts = np.unique(labels, return_counts=True)
    n_groups = len(np.unique(groups))
    for label in classes:
        if len(np.unique(groups[labels == label])) < 2:
            which = f"all images of class {label}" if len(classes) > 1 else "all images"
            raise UsageError(
                f"cannot split: {which} are of one group, so that a part would lack them; "
                "give them more groups, or take the groups away"
            )
    share = min(fraction, 1 - fraction)
    best: tuple[float, Rows] | None = None
    for rows in _folds(labels, groups, min(max(2, round(1 / share)), n_groups), seed):
        found = np.array([np.sum(labels[rows] == label) for label in classes])
        difference = float(np.abs(found / counts - share).max())
        if (found > 0).all() and (found < counts).all() and (best is None or difference < best[0]):
            best = difference, rows
    if best is None:
        raise UsageError(
            f"cannot split {count_text(len(labels), 'image')} of {count_text(n_groups, 'group')} so that "
            "each class is in both parts; give the classes more groups, or drop those with few"
        )
    others = np.setdiff1d(np.arange(len(labels)), best[1])
    return (others, best[1]) if fraction <= 1 / 2 else (best[1], others)


def _folds(labels: Rows, groups: Rows, n_folds: int, seed: int) -> Iterator[Rows]:
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer images than folds
        try:
            found = [rows for _, rows in splitter.split(np.zeros(len(labels)), labels, groups)]
        except ValueError as error:
            raise UsageError(f"cannot split by group into {n_folds}: {error}; give more groups") from None
    yield from (np.sort(rows) for rows in found)


def near_copy_share(train: ImageSet, test: ImageSet) -> float:
    """Return the share of test images with a near copy in training, in [0, 1].

    Of many test images `NEAR_COPY_SAMPLE` are compared, evenly spaced ones.

    What two chance images differ by is the median distance of these test images to as many of training.

    Examples
    --------
    >>> images = torch.arange(64, dtype=torch.uint8).reshape(8, 1, 2, 4)
    >>> near_copy_share(ImageSet(images, None), ImageSet(images[:2], None))
    1.0
    """
    queries = test.images[_evenly(len(test))].flatten(1).float()
    others = train.images[_evenly(len(train))].flatten(1).float()
    limit = NEAR_COPY * torch.cdist(queries, others).median()
    if limit == 0:  # most are one and the same image: nothing can be said
        return 0.0
    nearest = torch.full((len(queries),), torch.inf)
    for part in train.images.split(1024):  # |x|² - 2xy, in the order of operands that is fast
        points = part.flatten(1).float()
        found = torch.addmm(points.square().sum(1, keepdim=True), points, queries.T, alpha=-2)
        nearest = torch.minimum(nearest, found.amin(0))
    near = nearest + queries.square().sum(1) <= limit**2
    return near.float().mean().item()


def _evenly(n: int) -> Tensor:
    return torch.linspace(0, n - 1, min(n, NEAR_COPY_SAMPLE), dtype=torch.float64).long()
