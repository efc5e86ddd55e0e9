"""UMAP of the pixels, of their first principal components, and of a VAE's posterior means."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evaluation.embedders.embedding import Embedding, EmbeddingKey, Images
from evaluation.embedders.pca import Pca
from evaluation.embedders.vae import Vae

N_NEIGHBORS = 15
"""UMAP's own default."""


@dataclass(frozen=True, slots=True)
class Umap:
    """UMAP of the pixels with the library's defaults; every dimension shares one neighbour graph.

    References
    ----------
    McInnes, Healy, Melville, "UMAP: Uniform Manifold Approximation and Projection" (2018), arXiv:1802.03426.
    """

    dims: tuple[int, ...]
    seed: int = 0
    relative_cost: ClassVar[int] = 4
    on_gpu: ClassVar[bool] = False

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return tuple(EmbeddingKey("umap", dim) for dim in sorted(self.dims))

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        yield from _reduce(*images.pixels(), self.keys, self.seed)


@dataclass(frozen=True, slots=True)
class PcaUmap:
    """UMAP of the first principal components, which keep the shape of the data and leave noise behind.

    There are ``n_components`` of them, more if a larger dimension is asked for, fewer if the data has fewer.
    """

    dims: tuple[int, ...]
    seed: int = 0
    n_components: int = 50
    relative_cost: ClassVar[int] = 4
    on_gpu: ClassVar[bool] = False

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return tuple(EmbeddingKey("pca_umap", dim) for dim in sorted(self.dims))

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        n, n_pixels = len(images.train), images.train[0].size
        n_components = min(max(self.n_components, *self.dims), n, n_pixels)
        components = next(Pca((n_components,)).embeddings(images))
        yield from _reduce(components.train, components.test, self.keys, self.seed)


@dataclass(frozen=True, slots=True)
class VaeUmap:
    """UMAP of one VAE's posterior means: a picture of a latent space that has too many dimensions for one."""

    vae: Vae
    dims: tuple[int, ...]
    seed: int = 0
    relative_cost: ClassVar[int] = 4
    on_gpu: ClassVar[bool] = False  # encoding is the least of it

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        vae = self.vae
        return tuple(
            EmbeddingKey("vae_umap", dim, vae.trial_id, vae.training_seed) for dim in sorted(self.dims)
        )

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        latents = next(self.vae.embeddings(images, device))
        yield from _reduce(latents.train, latents.test, self.keys, self.seed)


def _reduce(
    train: NDArray[np.float32], test: NDArray[np.float32], keys: Sequence[EmbeddingKey], seed: int
) -> Iterator[Embedding]:
    """Fit UMAP on the training points (n, d), one fit for each key from one graph, and embed both splits."""
    # Not at the top of the file: it takes seconds, and numba reads its number of threads at import.
    import umap
    from umap.umap_ import nearest_neighbors

    n_neighbors = min(N_NEIGHBORS, len(train) - 1)
    # The third element is the search index, without which `transform` is lost.
    graph = nearest_neighbors(
        train,
        n_neighbors=n_neighbors,
        metric="euclidean",
        metric_kwds=None,
        angular=False,
        random_state=np.random.RandomState(seed),
        n_jobs=1,
    )
    for key in keys:
        reducer = umap.UMAP(
            n_components=key.dim,
            n_neighbors=n_neighbors,
            random_state=seed,
            n_jobs=1,  # the only number that is repeatable
            precomputed_knn=graph,
        )
        fitted = reducer.fit_transform(train)
        # All at once: the result depends on the batch.
        yield Embedding(key, fitted.astype(np.float32), reducer.transform(test).astype(np.float32))
