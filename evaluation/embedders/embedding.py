"""What an embedding is, and the images that it is made from."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vae.data import Dataset
    from vae.metrics.neighbor_graph import KnownNeighbors


@dataclass(frozen=True, slots=True)
class EmbeddingKey:
    """What identifies an embedding within one evaluation.

    ``trial_id`` and ``training_seed``, the seed that the VAE was trained with, are None unless a VAE made it.
    Of an ensemble, ``trial_id`` stands for all members, see `ensemble_id`, and there is no ``training_seed``.
    """

    method: str
    dim: int
    trial_id: str | None = None
    training_seed: int | None = None

    @property
    def name(self) -> str:
        """Name without the dimension, such as ``pca`` or ``vae-0003-conv-10d-seed42``."""
        seed = None if self.training_seed is None else f"seed{self.training_seed}"
        return "-".join(part for part in (self.method, self.trial_id, seed) if part is not None)

    def __str__(self) -> str:
        return f"{self.name} {self.dim}-d"


@dataclass(frozen=True, slots=True)
class Embedding:
    """Points float32 (n, dim) of both splits, row for row those of the dataset."""

    key: EmbeddingKey
    train: NDArray[np.float32] = field(repr=False)
    test: NDArray[np.float32] = field(repr=False)

    @property
    def finite(self) -> bool:
        """Whether there is no NaN and no infinity in it."""
        return bool(np.isfinite(self.train).all() and np.isfinite(self.test).all())


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedRows:
    """Rows of the training set that a search with ``seed`` measured the KNN accuracy of its trials on."""

    seed: int
    reference: NDArray[np.int64]
    validation: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Images:
    """A dataset as arrays, which Ray's object store hands to every worker without a copy.

    Images are uint8 (n, C, H, W); labels are int64 (n,), or None. ``searched`` is None without a search.
    """

    train: NDArray[np.uint8]
    train_labels: NDArray[np.int64] | None
    test: NDArray[np.uint8]
    test_labels: NDArray[np.int64] | None
    searched: SearchedRows | None = None
    train_groups: NDArray[np.int64] | None = None
    """What each training image belongs to (n,): images of one group stay together in cross-validation."""
    raw_neighbors: "KnownNeighbors | None" = None
    """What is known of the neighbours by pixels, for embedders that use them."""

    @classmethod
    def from_dataset(cls, dataset: "Dataset") -> "Images":
        labels = [
            None if part.labels is None else part.labels.numpy() for part in (dataset.train, dataset.test)
        ]
        groups = dataset.train.groups
        return cls(
            dataset.train.images.numpy(),
            labels[0],
            dataset.test.images.numpy(),
            labels[1],
            train_groups=None if groups is None else groups.numpy(),
        )

    def pixels(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return both splits as (n, C·H·W) in [0, 1]."""
        return _flat(self.train), self.test_pixels()

    def test_pixels(self) -> NDArray[np.float32]:
        """Return the test images as (n, C·H·W) in [0, 1]."""
        return _flat(self.test)


def _flat(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    # Not at the top of the file: torch takes seconds, and the command line names the methods without it.
    import torch

    from vae.inference import to_unit

    flat: NDArray[np.float32] = to_unit(torch.tensor(images)).flatten(1).numpy()
    return flat


class Embedder(Protocol):
    """One piece of work that gives one or several embeddings, one after the other.

    Its ``repr`` names all that its results depend on, as that of a dataclass does: embeddings that are
    already there are found by it.
    """

    relative_cost: ClassVar[int]
    """Its place in the queue: the most expensive work starts first."""
    on_gpu: ClassVar[bool]
    """Whether it is faster on a GPU."""
    uses_raw_neighbors: ClassVar[bool]
    """Whether it is faster once raw pixels are scored, see `Images.raw_neighbors`; it gives the same."""

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        """The embeddings that it will give, in order."""

    def embeddings(self, images: Images, device: str) -> Iterator[Embedding]:
        """Fit on the training images and embed both splits."""
