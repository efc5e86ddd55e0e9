"""PaCMAP of the pixels."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from evaluation.embedders.embedding import Embedding, EmbeddingKey, Images
from evaluation.embedders.method import Method, PlanRequest


@dataclass(frozen=True, slots=True)
class Pacmap(Method):
    """PaCMAP of the pixels with the library's defaults, of which one is to begin with 100 components.

    References
    ----------
    Wang, Huang, Rudin, Shaposhnik, "Understanding How Dimension Reduction Tools Work" (JMLR 2021),
    arXiv:2012.04456.
    """

    dims: tuple[int, ...]
    seed: int = 0
    name: ClassVar[str] = "pacmap"
    title: ClassVar[str] = "PaCMAP"
    description: ClassVar[str] = "PaCMAP of the pixels, library defaults"
    colour: ClassVar[str] = "#2f7d4f"
    is_picture: ClassVar[bool] = True
    relative_cost: ClassVar[int] = 4

    @classmethod
    def plan(cls, request: PlanRequest) -> list[Self]:
        return [cls(request.dims_up_to(request.max_dim), seed=request.seed)]

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return tuple(EmbeddingKey(self.name, dim) for dim in sorted(self.dims))

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        # Not at the top of the file: it takes seconds, and numba reads its number of threads at import.
        import faiss
        from pacmap import PaCMAP  # type: ignore[import-untyped]

        logging.getLogger("pacmap").setLevel(logging.ERROR)  # it warns of every seed
        faiss.omp_set_num_threads(1)  # several build another neighbour graph each time
        train, test = images.pixels()
        for key in self.keys:
            reducer = PaCMAP(n_components=key.dim, random_state=self.seed)
            # It centres what it is given in place.
            fitted = reducer.fit_transform(train.copy())
            placed = reducer.transform(test.copy(), basis=train.copy())
            yield Embedding(key, fitted.astype(np.float32), placed.astype(np.float32))
