"""Exact nearest neighbours, searched once at the largest k; every score takes a prefix of them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from vae.errors import UsageError

BACKENDS = ("scikit-learn", "torch")

# Measured on one core, 50,000 references: a k-d tree beats brute force up to here, 10x at 2 dimensions.
_KD_TREE_MAX_DIM = 6
# Candidates beyond k, so that neighbours at equal distance are chosen by index and not by the backend.
_TIE_CANDIDATES = 4
_TORCH_BLOCK_BYTES = 2**30

Array = np.ndarray | torch.Tensor


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The nearest references of each query, ordered by (distance, index).

    Parameters
    ----------
    index
        Rows of the reference, int64 (n_queries, k).
    distance
        Euclidean distances, float32 (n_queries, k).
    """

    index: np.ndarray
    distance: np.ndarray

    def merge(self, other: Self, n_neighbors: int) -> "Neighbors":
        """Return the nearest of both: the neighbours in the union of two disjoint references."""
        return _nearest(
            np.concatenate([self.index, other.index], axis=1),
            np.concatenate([self.distance, other.distance], axis=1),
            n_neighbors,
        )


def choose_backend(array: Array) -> str:
    """Return the backend that ``find_neighbors`` takes for data that lies where ``array`` does."""
    return "torch" if isinstance(array, torch.Tensor) and array.is_cuda else "scikit-learn"


def find_neighbors(reference: Array, query: Array, n_neighbors: int, *, backend: str = "auto") -> Neighbors:
    """Find the nearest references of each query by Euclidean distance.

    Distances are compared in float32 and equal ones are ordered by index, so that every backend and every
    order of the work gives the same neighbours.

    Parameters
    ----------
    reference
        Points (n, dim).
    query
        Points (m, dim).
    n_neighbors
        At most n. A query that is itself a reference is its own first neighbour.
    backend
        ``scikit-learn`` (CPU), ``torch`` (the tensors' device) or ``auto``: torch for CUDA tensors.

    Raises
    ------
    UsageError
        ``n_neighbors`` is out of range, the backend is unknown, or the points hold NaN or infinity.
    """
    if not 1 <= n_neighbors <= len(reference):
        raise UsageError(
            f"n_neighbors must be between 1 and the {len(reference)} references, got {n_neighbors}"
        )
    if backend == "auto":
        backend = choose_backend(reference)
    if backend not in BACKENDS:
        raise UsageError(f"backend must be one of {', '.join(BACKENDS)}, got '{backend}'")
    for name, points in (("reference", reference), ("query", query)):
        if not torch.isfinite(torch.as_tensor(points)).all():
            raise UsageError(f"the {name} points must be finite, got NaN or infinity")

    k = min(n_neighbors + _TIE_CANDIDATES, len(reference))
    search = _search_torch if backend == "torch" else _search_sklearn
    index, distance = search(reference, query, k)
    reference, query = _numpy(reference), _numpy(query)
    _recompute_short_distances(reference, query, index, distance)
    found = _nearest(index, distance.astype(np.float32), k)
    if k < len(reference):
        _break_ties(reference, query, found, n_neighbors)
    return Neighbors(found.index[:, :n_neighbors], found.distance[:, :n_neighbors])


def _search_sklearn(reference: Array, query: Array, k: int) -> tuple[np.ndarray, np.ndarray]:
    algorithm = "kd_tree" if reference.shape[1] <= _KD_TREE_MAX_DIM else "brute"
    # float64 is as fast as float32 here, which scikit-learn rounds on the way.
    search = NearestNeighbors(n_neighbors=k, algorithm=algorithm).fit(_numpy(reference).astype(np.float64))
    distance, index = search.kneighbors(_numpy(query).astype(np.float64))
    return index.astype(np.int64), distance


def _search_torch(reference: Array, query: Array, k: int) -> tuple[np.ndarray, np.ndarray]:
    # float64: |x|² - 2xy + |y|² in float32 would put neighbours in another order than scikit-learn does.
    x = torch.as_tensor(query).double()
    y = torch.as_tensor(reference).double()
    y_squared = y.square().sum(1)
    indices, distances = [], []
    for block in x.split(max(1, _TORCH_BLOCK_BYTES // (8 * len(y)))):
        squared = torch.addmm(y_squared, block, y.T, alpha=-2)
        nearest = squared.topk(k, largest=False)
        indices.append(nearest.indices.cpu())
        distances.append((nearest.values + block.square().sum(1, keepdim=True)).clamp_min(0).sqrt().cpu())
    return torch.cat(indices).numpy(), torch.cat(distances).numpy()


def _recompute_short_distances(
    reference: np.ndarray, query: np.ndarray, index: np.ndarray, distance: np.ndarray
) -> None:
    """Replace, in place, what cancellation in |x|² - 2xy + |y|² spoils: the distances of near duplicates."""
    length = np.sqrt((query.astype(np.float64) ** 2).sum(1, keepdims=True))
    row, column = np.nonzero(distance < 1e-3 * length)
    for part in np.array_split(np.arange(len(row)), len(row) // 100_000 + 1):
        r, c = row[part], column[part]
        difference = query[r].astype(np.float64) - reference[index[r, c]]
        distance[r, c] = np.sqrt((difference**2).sum(1))


def _break_ties(reference: np.ndarray, query: np.ndarray, found: Neighbors, n_neighbors: int) -> None:
    """Search again, in place, the queries whose equal distances reach beyond the candidates."""
    tied = np.nonzero(found.distance[:, n_neighbors - 1] == found.distance[:, -1])[0]
    if not len(tied):
        return
    k, points = found.index.shape[1], reference.astype(np.float64)
    for row in tied:
        difference = points - query[row]
        distance = np.sqrt((difference**2).sum(1)).astype(np.float32)
        nearest = np.argsort(distance, kind="stable")[:k]
        found.index[row], found.distance[row] = nearest, distance[nearest]


def _nearest(index: np.ndarray, distance: np.ndarray, k: int) -> Neighbors:
    order = np.lexsort((index, distance), axis=-1)[:, :k]
    return Neighbors(np.take_along_axis(index, order, 1), np.take_along_axis(distance, order, 1))


def _numpy(array: Array) -> np.ndarray:
    return array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
