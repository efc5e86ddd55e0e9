"""KNN classification in an embedding: the votes of the nearest references, and their accuracy.

The predictions are those of `sklearn.neighbors.KNeighborsClassifier`, ties included.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from vae.errors import UsageError
from vae.metrics.neighbors import Array, Neighbors, find_neighbors

WEIGHTS = ("uniform", "distance")


def knn_accuracy(
    reference: Array,
    reference_labels: Array,
    query: Array,
    query_labels: Array,
    *,
    n_neighbors: int = 10,
    weights: str = "distance",
) -> float:
    """Return the share of queries whose label the nearest references vote for, in [0, 1]; higher is better.

    Parameters
    ----------
    reference
        Points (n, dim), arrays or tensors on any device; the search runs where they lie.
    reference_labels
        Class of each reference (n,).
    query
        Points (m, dim), none of which is a reference.
    query_labels
        Class of each query (m,).
    n_neighbors
        References that vote.
    weights
        ``uniform``, or ``distance``: a vote counts 1 / distance.

    Raises
    ------
    UsageError
        An argument is out of range, or the points hold NaN or infinity.
    """
    predicted = knn_predict(reference, reference_labels, query, n_neighbors=n_neighbors, weights=weights)
    return float(np.mean(predicted == _numpy(query_labels)))


def knn_predict(
    reference: Array,
    reference_labels: Array,
    query: Array,
    *,
    n_neighbors: int = 10,
    weights: str = "distance",
) -> np.ndarray:
    """Return the class (m,) that the nearest references of each query vote for; see `knn_accuracy`."""
    neighbors = find_neighbors(reference, query, n_neighbors)
    return next(vote(neighbors, _numpy(reference_labels), [n_neighbors], weights))


def vote(
    neighbors: Neighbors, reference_labels: np.ndarray, n_neighbors: Sequence[int], weights: str
) -> Iterator[np.ndarray]:
    """Yield the predicted classes (m,) for each of the rising ``n_neighbors``, from one search.

    Equal votes go to the smallest label. With ``distance`` weights, references at distance zero outvote
    all others.
    """
    if weights not in WEIGHTS:
        raise UsageError(f"weights must be one of {', '.join(WEIGHTS)}, got '{weights}'")
    classes, codes = np.unique(reference_labels, return_inverse=True)
    neighbor_codes = codes[neighbors.index]
    vote_weights = _weights(neighbors.distance, weights)
    rows = np.arange(len(neighbor_codes))
    votes = np.zeros((len(rows), len(classes)))
    counted = 0
    for k in n_neighbors:
        for column in range(counted, k):
            votes[rows, neighbor_codes[:, column]] += vote_weights[:, column]
        counted = k
        yield classes[votes.argmax(axis=1)]


def _weights(distance: np.ndarray, weights: str) -> np.ndarray:
    if weights == "uniform":
        return np.ones(distance.shape)
    zero = distance == 0  # sorted: where a longer prefix has one, the shorter ones have it too
    with np.errstate(divide="ignore"):
        inverse = 1 / distance.astype(np.float64)
    return np.where(zero.any(axis=1, keepdims=True), zero, inverse)


def _numpy(array: Array) -> np.ndarray:
    return array.cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
