"""The images of one part as tensors, and where each of them is from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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
            self.images[index],
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
