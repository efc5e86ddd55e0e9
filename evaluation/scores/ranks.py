"""How near points are among all the others: distances, ranks, and what an embedding keeps of them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vae.metrics.unlabelled import nearest_others, shared_neighbors

_BLOCK = 256  # rows whose distances are compared at once: they stay in the processor's cache

Points = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Proximity:
    """Which points are near which, in one space.

    Parameters
    ----------
    distance
        Squared Euclidean distances (n, n), computed in float64; infinite from a point to itself.
    nearest
        The nearest others of each point (n, k), the closest first.
    """

    distance: NDArray[np.float32] = field(repr=False)
    nearest: NDArray[np.int64] = field(repr=False)

    @classmethod
    def between(cls, points: Points, n_neighbors: int) -> "Proximity":
        """Return that of some points (n, dim)."""
        distance = np.empty((len(points), len(points)), np.float32)
        exact = points.astype(np.float64)
        exact -= exact.mean(axis=0)  # rounding grows with the lengths
        squared = np.einsum("ij,ij->i", exact, exact)
        for start in range(0, len(points), _BLOCK):
            part = slice(start, start + _BLOCK)
            product = exact[part] @ exact.T
            product *= -2
            product += squared
            product += squared[part, None]
            distance[part] = product
        np.fill_diagonal(distance, np.inf)
        return cls(distance, nearest_others(points, n_neighbors))

    def ranks(self, others: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rank (n, k) of some of the others of each point: 1 for its nearest."""
        ranks = np.empty(others.shape, np.int64)
        for start in range(0, len(others), _BLOCK):
            part = slice(start, start + _BLOCK)
            every = self.distance[part]
            of_these = np.take_along_axis(every, others[part], 1)
            for column in range(others.shape[1]):
                ranks[part, column] = 1 + np.count_nonzero(every < of_these[:, column, None], axis=1)
        return ranks


def trustworthiness(original: Proximity, embedded: Proximity) -> float:
    """Return how far the nearest in the embedding are near in the original, in [0, 1]; higher is better.

    Swapped it is the continuity: Venna & Kaski, "Neighborhood preservation in nonlinear projection methods"
    (2001).
    """
    n, k = embedded.nearest.shape
    too_far = np.maximum(original.ranks(embedded.nearest) - k, 0).sum()
    return float(1 - too_far * (2 / (n * k * (2 * n - 3 * k - 1))))


def neighborhood_recall(original: Proximity, embedded: Proximity) -> float:
    """Return the share of each point's nearest that are the same in both spaces, in [0, 1]."""
    return shared_neighbors(original.nearest, embedded.nearest)
