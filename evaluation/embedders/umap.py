"""UMAP of the pixels, of their first principal components, and of a VAE's posterior means.

Its neighbours are exact, in place of the library's approximate ones, and serve every dimension.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from evaluation.embedders.embedding import Embedding, EmbeddingKey, Images
from evaluation.embedders.method import Method, PlanRequest, Reduction
from evaluation.embedders.pca import components
from evaluation.embedders.vae import Vae
from vae.errors import UsageError

if TYPE_CHECKING:
    from vae.metrics.neighbor_graph import KnownNeighbors, NeighborGraph

N_NEIGHBORS = 15
"""UMAP's own default."""
PICTURE_DIMS = (2,)
"""Of UMAP on top of a VAE, whose own embedding has as many dimensions as it needs."""


@dataclass(frozen=True, slots=True)
class Umap(Reduction):
    """UMAP of the pixels with the library's defaults; every dimension shares one exact graph.

    References
    ----------
    McInnes, Healy, Melville, "UMAP: Uniform Manifold Approximation and Projection" (2018), arXiv:1802.03426.
    """

    name = "umap"
    title = "UMAP"
    description = "UMAP of the pixels, library defaults"
    colour = "#1a9a8a"
    default = True
    uses_raw_neighbors = True

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        yield from _reduce(*images.pixels(), self.keys, self.seed, images.raw_neighbors)


@dataclass(frozen=True, slots=True)
class PcaUmap(Reduction):
    """UMAP of the first principal components, which keep the shape of the data and leave noise behind.

    There are ``n_components`` of them, more if a larger dimension is asked for, fewer if the data has fewer.
    """

    n_components: int = 50
    name = "pca_umap"
    title = "PCA + UMAP"
    description = "UMAP of 50 principal components"
    colour = "#7a9a1f"

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        points = components(images, max(self.n_components, *self.dims))
        yield from _reduce(*points, self.keys, self.seed)


@dataclass(frozen=True, slots=True)
class VaeUmap(Method):
    """UMAP of one VAE's posterior means: a picture of a latent space that has too many dimensions for one."""

    vae: Vae
    dims: tuple[int, ...]
    seed: int = 0
    name = "vae_umap"
    title = "VAE + UMAP"
    description = "UMAP of the best finalist's posterior means"
    colour = "#2f8fd0"
    needs_vaes = True
    is_baseline = False
    is_picture = True
    relative_cost = 4

    @classmethod
    def plan(cls, request: PlanRequest) -> list[Self]:
        if not request.vaes:
            return []
        best = request.vaes[0]
        dims = request.dims_up_to(best.latent_dim - 1, PICTURE_DIMS)
        if not dims:
            raise UsageError(
                f"vae_umap needs dims below the {best.latent_dim} of the best finalist, {best.trial_id}, "
                f"got {min(request.dims or PICTURE_DIMS)}; leave it out of --methods"
            )
        return [cls(best, dims, seed=request.seed)]

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        (own,) = self.vae.keys
        return tuple(replace(own, method=self.name, dim=dim) for dim in sorted(self.dims))

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        latents = next(self.vae.embeddings(images, device))
        yield from _reduce(latents.train, latents.test, self.keys, self.seed)


def _reduce(
    train: NDArray[np.float32],
    test: NDArray[np.float32],
    keys: Sequence[EmbeddingKey],
    seed: int,
    known: "KnownNeighbors | None" = None,
) -> Iterator[Embedding]:
    """Fit UMAP on the training points (n, d), one fit for each key from one graph, and embed both splits."""
    # Not at the top of the file: they take seconds, and numba reads its number of threads at import.
    import umap

    from vae.metrics.neighbor_graph import NeighborGraph

    n_neighbors = min(N_NEIGHBORS, len(train) - 1)
    graph = NeighborGraph.build(train, test, n_neighbors, known)
    for key in keys:
        reducer = umap.UMAP(
            n_components=key.dim,
            n_neighbors=n_neighbors,
            random_state=seed,
            n_jobs=1,  # the only number that is repeatable
            precomputed_knn=(graph.train.index, graph.train.distance, _GraphIndex(graph)),
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "precomputed_knn.* is not an NNDescent object")
            fitted = reducer.fit_transform(train)
        # All at once: the result depends on the batch.
        yield Embedding(key, fitted.astype(np.float32), reducer.transform(test).astype(np.float32))


class _GraphIndex:
    """The part of pynndescent's index that UMAP's `transform` asks, for the test points of a graph alone."""

    _angular_trees = False

    def __init__(self, graph: "NeighborGraph") -> None:
        self._graph = graph

    def query(
        self, points: NDArray[np.float32], k: int, epsilon: float = 0.0
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return index and distance (m, k) of the nearest training points of all test points."""
        found = self._graph.test.first(k)
        assert found.index.shape == (len(points), k), "only the test points as a whole are known"
        return found.index.copy(), found.distance.copy()
