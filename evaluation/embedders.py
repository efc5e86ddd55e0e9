"""The methods that are compared: each is fitted on the training images alone and embeds both splits.

A new method is one class here and one line in `METHODS`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA as ScikitLearnPCA

from vae.checkpoint import load_model
from vae.data import Dataset
from vae.errors import UserError
from vae.inference import embed, to_unit

METHODS = {
    "raw": "the pixels themselves",
    "pca": "principal components",
    "umap": "UMAP, library defaults",
    "vae": "posterior means of the finalists",
}


@dataclass(frozen=True, slots=True)
class EmbeddingKey:
    """What identifies an embedding within one evaluation.

    ``trial_id`` and ``training_seed``, the seed that the VAE was trained with, are None unless a VAE made it.
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
    train: NDArray[np.float32]
    test: NDArray[np.float32]

    @property
    def finite(self) -> bool:
        """Whether there is no NaN and no infinity in it."""
        return bool(np.isfinite(self.train).all() and np.isfinite(self.test).all())


@dataclass(frozen=True, slots=True)
class Images:
    """A dataset as arrays, which Ray's object store hands to every worker without a copy.

    Images are uint8 (n, C, H, W); labels are int64 (n,), or None.
    """

    train: NDArray[np.uint8]
    train_labels: NDArray[np.int64] | None
    test: NDArray[np.uint8]
    test_labels: NDArray[np.int64] | None

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> "Images":
        labels = [
            None if part.labels is None else part.labels.numpy() for part in (dataset.train, dataset.test)
        ]
        return cls(dataset.train.images.numpy(), labels[0], dataset.test.images.numpy(), labels[1])

    def pixels(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return both splits as (n, C·H·W) in [0, 1]."""
        train, test = (to_unit(torch.tensor(part)).flatten(1).numpy() for part in (self.train, self.test))
        return train, test


class Embedder(Protocol):
    """One piece of work that gives one or several embeddings, one after the other."""

    relative_cost: ClassVar[int]
    """Where it stands in the queue: the dearest work starts first."""
    on_gpu: ClassVar[bool]
    """Whether it is faster on a GPU."""

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        """The embeddings that it will give, in order."""

    def embeddings(self, images: Images, device: str) -> Iterator[Embedding]:
        """Fit on the training images and embed both splits."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Pixels in [0, 1], untouched: what an embedding has to keep up with at a fraction of the dimensions."""

    n_pixels: int
    relative_cost: ClassVar[int] = 3
    on_gpu: ClassVar[bool] = False

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return (EmbeddingKey("raw", self.n_pixels),)

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        yield Embedding(self.keys[0], *images.pixels())


@dataclass(frozen=True, slots=True)
class Pca:
    """Principal components, not whitened; one fit at the largest dimension serves the smaller ones."""

    dims: tuple[int, ...]
    relative_cost: ClassVar[int] = 1
    on_gpu: ClassVar[bool] = False

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return tuple(EmbeddingKey("pca", dim) for dim in sorted(self.dims))

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        train, test = images.pixels()
        pca = ScikitLearnPCA(max(self.dims), svd_solver="covariance_eigh").fit(train)
        train, test = (pca.transform(split).astype(np.float32) for split in (train, test))
        for key in self.keys:
            yield Embedding(key, train[:, : key.dim].copy(), test[:, : key.dim].copy())


@dataclass(frozen=True, slots=True)
class Umap:
    """UMAP of the pixels with the library's defaults; every dimension shares one neighbour graph.

    References
    ----------
    McInnes, Healy, Melville, "UMAP: Uniform Manifold Approximation and Projection" (2018), arXiv:1802.03426.
    """

    dims: tuple[int, ...]
    seed: int = 0
    n_neighbors: int = 15
    relative_cost: ClassVar[int] = 4
    on_gpu: ClassVar[bool] = False

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return tuple(EmbeddingKey("umap", dim) for dim in sorted(self.dims))

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        # Not at the top of the file: it takes seconds, and numba reads its number of threads at import.
        import umap
        from umap.umap_ import nearest_neighbors

        train, test = images.pixels()
        n_neighbors = min(self.n_neighbors, len(train) - 1)
        # The third element is the search index, without which `transform` is lost.
        graph = nearest_neighbors(
            train,
            n_neighbors=n_neighbors,
            metric="euclidean",
            metric_kwds=None,
            angular=False,
            random_state=np.random.RandomState(self.seed),
            n_jobs=1,
        )
        for key in self.keys:
            reducer = umap.UMAP(
                n_components=key.dim,
                n_neighbors=n_neighbors,
                random_state=self.seed,
                n_jobs=1,  # the only number that is repeatable
                precomputed_knn=graph,
            )
            fitted = reducer.fit_transform(train)
            # All at once: the result depends on the batch.
            yield Embedding(key, fitted.astype(np.float32), reducer.transform(test).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Vae:
    """Posterior means of a trained VAE, from its checkpoint alone."""

    trial_id: str
    checkpoint: Path
    latent_dim: int
    training_seed: int | None = None
    relative_cost: ClassVar[int] = 2
    on_gpu: ClassVar[bool] = True

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return (EmbeddingKey("vae", self.latent_dim, self.trial_id, self.training_seed),)

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        loaded = load_model(self.checkpoint, device)
        if loaded.image_shape != images.train.shape[1:]:
            raise UserError(
                f"the checkpoint {self.checkpoint} takes images of shape {loaded.image_shape} (C, H, W), "
                f"the dataset has {images.train.shape[1:]}"
            )
        train, test = (
            embed(loaded.model, torch.tensor(part).to(device)).cpu().numpy()
            for part in (images.train, images.test)
        )
        yield Embedding(self.keys[0], train, test)
