"""Principal components."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from evaluation.embedders.embedding import Embedding, EmbeddingKey, Images
from evaluation.embedders.method import Method, PlanRequest


@dataclass(frozen=True, slots=True)
class Pca(Method):
    """Principal components, not whitened; one fit at the largest dimension serves the smaller ones."""

    dims: tuple[int, ...]
    name = "pca"
    title = "PCA"
    description = "principal components"
    colour = "#d9822b"
    default = True
    is_picture = True

    @classmethod
    def plan(cls, request: PlanRequest) -> list[Self]:
        dims = set(request.dims_up_to(request.max_dim))
        if not request.dims:  # a fair comparison has as many dimensions as the VAEs
            dims |= {vae.latent_dim for vae in request.vaes if vae.latent_dim <= request.max_dim}
        return [cls(tuple(sorted(dims)))]

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return tuple(EmbeddingKey(self.name, dim) for dim in sorted(self.dims))

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        # Not at the top of the file: it takes a second.
        from sklearn.decomposition import PCA

        train, test = images.pixels()
        pca = PCA(max(self.dims), svd_solver="covariance_eigh").fit(train)
        train, test = (pca.transform(split).astype(np.float32) for split in (train, test))
        for key in self.keys:
            yield Embedding(key, train[:, : key.dim].copy(), test[:, : key.dim].copy())


def components(images: Images, n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the first principal components of both splits: ``n``, fewer if the data has fewer."""
    found = next(Pca((min(n, len(images.train), images.train[0].size),)).embeddings(images))
    return found.train, found.test
