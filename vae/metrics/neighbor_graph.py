"""The nearest training points of every point, exactly: what manifold methods rest on."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vae.metrics.neighbors import Neighbors, find_neighbors, own_group_neighbors

Points = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class KnownNeighbors:
    """What the KNN scores of the same points have found of the graph.

    Parameters
    ----------
    fold
        Of each training point (n,).
    train
        The nearest training points of other folds of each training point.
    test
        The nearest training points of each test point.
    """

    fold: NDArray[np.int64] = field(repr=False)
    train: Neighbors = field(repr=False)
    test: Neighbors = field(repr=False)


@dataclass(frozen=True, slots=True)
class NeighborGraph:
    """The nearest training points of each training point, itself among them, and of each test point."""

    train: Neighbors
    test: Neighbors

    @classmethod
    def build(
        cls, train: Points, test: Points, n_neighbors: int, known: KnownNeighbors | None = None
    ) -> "NeighborGraph":
        """Return it for points (n, dim) and (m, dim), searching only what is not ``known``."""
        if known is None or min(known.train.index.shape[1], known.test.index.shape[1]) < n_neighbors:
            everyone = np.zeros(len(train), np.int64)
            of_train = own_group_neighbors(train, everyone, n_neighbors)
            return cls(of_train, find_neighbors(train, test, n_neighbors))
        own = own_group_neighbors(train, known.fold, n_neighbors)
        return cls(own.merge(known.train, n_neighbors), known.test.first(n_neighbors))
