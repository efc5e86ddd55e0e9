"""PaCMAP of the pixels."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evaluation.embedders.embedding import Embedding, Images
from evaluation.embedders.method import Reduction


@dataclass(frozen=True, slots=True)
class Pacmap(Reduction):
    """PaCMAP of the pixels with the library's defaults, of which one is to begin with 100 components.

    References
    ----------
    Wang, Huang, Rudin, Shaposhnik, "Understanding How Dimension Reduction Tools Work" (JMLR 2021),
    arXiv:2012.04456.
    """

    name = "pacmap"
    title = "PaCMAP"
    description = "PaCMAP of the pixels, library defaults"
    colour = "#2f7d4f"

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
