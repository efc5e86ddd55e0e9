"""t-SNE of the pixels, with a place for images that it was not fitted on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from evaluation.embedders.embedding import Embedding, Images
from evaluation.embedders.method import PlanRequest, Reduction
from evaluation.embedders.pca import components
from vae.errors import UsageError

MAX_DIM = 2
"""Its fast method, interpolation on a grid, is for one and two dimensions; t-SNE is made for pictures."""
PERPLEXITY = 30
N_COMPONENTS = 50
"""Principal components that stand for the pixels, as its authors do and advise."""


@dataclass(frozen=True, slots=True)
class Tsne(Reduction):
    """t-SNE of 50 principal components with openTSNE's defaults, whose `transform` places the test images.

    Each test image is placed among the training images alone, however many come with it.

    References
    ----------
    van der Maaten, Hinton, "Visualizing Data using t-SNE" (JMLR 2008); Linderman et al., FIt-SNE (2019),
    arXiv:1712.09005; Poličar et al., "openTSNE" (JSS 2024).
    """

    dims: tuple[int, ...] = (MAX_DIM,)
    name = "tsne"
    title = "t-SNE"
    description = "t-SNE of 50 principal components"
    colour = "#b8486b"
    relative_cost = 5

    def __post_init__(self) -> None:
        assert max(self.dims) <= MAX_DIM, "t-SNE is for one and two dimensions"

    @classmethod
    def plan(cls, request: PlanRequest) -> list[Self]:
        dims = request.dims_up_to(MAX_DIM)
        if not dims:
            raise UsageError(
                f"tsne needs dims of 1 to {MAX_DIM}, got {min(request.dims or ())}; leave it out of --methods"
            )
        return [cls(dims, seed=request.seed)]

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        # Not at the top of the file: it takes seconds.
        from openTSNE import TSNEEmbedding, affinity, initialization  # type: ignore[import-untyped]

        train, test = components(images, N_COMPONENTS)
        perplexity = min(PERPLEXITY, (len(train) - 1) / 3)
        graph = affinity.PerplexityBasedNN(train, perplexity, n_jobs=1, random_state=self.seed)
        for key in self.keys:
            start = initialization.pca(train, key.dim, random_state=self.seed)
            fitted = TSNEEmbedding(start, graph, n_jobs=1, random_state=self.seed)
            fitted.optimize(250, exaggeration=12, momentum=0.5, inplace=True)
            fitted.optimize(500, momentum=0.8, inplace=True)
            placed = fitted.transform(test)
            yield Embedding(key, *(np.asarray(points, dtype=np.float32) for points in (fitted, placed)))
