"""Principal components."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.decomposition import PCA as ScikitLearnPCA

from evaluation.embedders.embedding import Embedding, EmbeddingKey, Images


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
