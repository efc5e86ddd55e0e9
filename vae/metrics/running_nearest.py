"""Exact nearest neighbours from float32 tiles: only what may be near is kept and measured exactly."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

EXTRA = 6
"""Candidates that are kept beyond the neighbours asked for, so that rounding seldom decides."""
_FIRST_COLUMNS = 256  # of a query's first tile, from which its first limit comes
_UNIT_ROUNDOFF = 2.0**-24  # of float32
_PART_VALUES = 2**17  # of coordinates that are compared at once in exact distances: they stay in the cache

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Keys = NDArray[np.uint64]


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
        index = np.concatenate([self.index, other.index], axis=1)
        return nearest(index, np.concatenate([self.distance, other.distance], axis=1), n_neighbors)

    def first(self, n_neighbors: int) -> "Neighbors":
        """Return the nearest of them."""
        return Neighbors(self.index[:, :n_neighbors], self.distance[:, :n_neighbors])


def nearest(index: np.ndarray, distance: np.ndarray, k: int) -> Neighbors:
    """Return the ``k`` nearest of some references of each query, (n, any number)."""
    order = np.lexsort((index, distance), axis=-1)[:, :k]
    return Neighbors(np.take_along_axis(index, order, 1), np.take_along_axis(distance, order, 1))


class Operands:
    """Points as operands of a matrix product that gives all squared distances, in float32.

    They are centred first, as the rounding of the product grows with their lengths.

    Parameters
    ----------
    points
        (n, dim).
    centre
        (dim,), the same for both operands.
    """

    def __init__(self, points: NDArray[np.floating], centre: NDArray[np.float64]) -> None:
        n, self.dim = points.shape
        self.left = np.empty((n, self.dim + 2), np.float32)
        np.subtract(points, centre, out=self.left[:, 2:], casting="same_kind")
        squared = np.einsum("ij,ij->i", self.left[:, 2:], self.left[:, 2:], dtype=np.float64)
        self.left[:, 0] = squared
        self.left[:, 1] = 1
        self.length = np.sqrt(squared)

    def right(self, rows: Rows | slice = slice(None)) -> Floats:
        """Return the other operand, (rows, dim + 2): ``left @ right.T`` are squared distances."""
        right = self.left[rows] * np.float32(-2)
        right[:, 1] = self.left[rows, 0]
        right[:, 0] = 1
        return right

    def error(self, longest: float) -> NDArray[np.float64]:
        """Return by how much a squared distance to a point of at most that length can be wrong, (n,).

        γ of the product and of the squared lengths, and the rounding of the centred coordinates; Higham,
        "Accuracy and Stability of Numerical Algorithms" (2002), chapter 3.
        """
        return 1.01 * (self.dim + 8) * _UNIT_ROUNDOFF * (self.length + longest) ** 2


class RunningNearest:
    """The nearest references so far of some queries, as tiles of squared distances come in.

    A candidate is one number: its squared distance, below that its row, and last whether its exact distance
    is known. So the nearest are the smallest.

    Parameters
    ----------
    n_queries
        Of every tile.
    n_neighbors
        How many neighbours may be asked for.
    """

    def __init__(self, n_queries: int, n_neighbors: int) -> None:
        self._keys = np.full((n_queries, n_neighbors + EXTRA), _NONE)
        self.limit = np.full(n_queries, np.inf, np.float32)
        """What was not kept has at least this squared distance, approximately."""
        self._waiting: list[tuple[Rows, Keys]] = []
        self._n_waiting = 0
        self._exact: Floats = np.zeros(self._keys.shape, np.float32)
        """Distances of the candidates of the last call of `nearest`, in its order."""

    def add(self, tile: Floats, references: Rows) -> None:
        """Take the references of the columns of a tile of squared distances, (queries, references)."""
        n_first = self._add_first(tile, references)
        tile, references = tile[:, n_first:], references[n_first:]
        query, column = _where(tile < self.limit[:, None])
        self._wait(query, _pack(tile[query, column], references[column]))

    def add_transposed(self, tile: Floats, references: Rows) -> None:
        """The same for a tile whose rows are the references, (references, queries)."""
        n_first = self._add_first(tile.T, references)
        tile, references = tile[n_first:], references[n_first:]
        row, query = _where(tile < self.limit)
        self._wait(query, _pack(tile[row, query], references[row]))

    def _add_first(self, tile: Floats, references: Rows) -> int:
        """Take all of the first references, while there is no limit, and return how many these are."""
        n_first = 0
        while n_first < len(references) and np.isinf(self.limit).any():
            part = slice(n_first, n_first + _FIRST_COLUMNS)
            self._merge(_pack(tile[:, part], references[part]))
            n_first += len(references[part])
        return n_first

    def _wait(self, query: Rows, keys: Keys) -> None:
        self._waiting.append((query, keys))
        self._n_waiting += len(query)
        if self._n_waiting > self._keys.size // 2:
            self._merge_waiting()

    def _merge_waiting(self) -> None:
        query, keys = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._n_waiting = [], 0
        order = np.argsort(query.astype(np.uint16), kind="stable")  # few queries: a radix sort
        query, keys = query[order], keys[order]
        counts = np.bincount(query, minlength=len(self.limit))
        place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
        side_by_side = np.full((len(self.limit), counts.max(initial=0)), _NONE)
        side_by_side[query, place] = keys
        self._merge(side_by_side)

    def _merge(self, keys: Keys) -> None:
        n_kept = self._keys.shape[1]
        keys = np.partition(np.concatenate([self._keys, keys], axis=1), n_kept - 1, axis=1)
        self._keys = keys[:, :n_kept].copy()
        self.limit = _value(self._keys[:, -1])  # the largest of them, in its place

    def nearest(
        self,
        query: NDArray[np.floating],
        reference: NDArray[np.floating],
        error: NDArray[np.float64],
        n_neighbors: int,
    ) -> tuple[Rows, Floats, Rows]:
        """Return index and exact distance of the nearest, (n, n_neighbors), and the rows that need a search.

        Those are the queries where a reference that was not kept may be among the nearest: ties, mostly.

        Parameters
        ----------
        query, reference
            The points themselves, (n, dim) and (m, dim).
        error
            By how much the squared distances can be wrong, (n,).
        """
        if self._waiting:
            self._merge_waiting()
        keys = np.sort(self._keys, axis=1)
        known = (keys & _KNOWN).astype(bool)
        exact = np.full(keys.shape, np.inf, np.float32)
        # Those that are left of the last call's candidates were its first, in the same order.
        exact[known] = self._exact[np.arange(keys.shape[1]) < known.sum(axis=1, keepdims=True)]
        row, column = np.nonzero(~known & (keys != _NONE))
        exact[row, column] = exact_distances(query, row, reference, _index(keys[row, column]))
        keys[row, column] |= _KNOWN
        self._keys, self._exact = keys, exact
        nearest = np.sort(_pack(exact, _index(keys)), axis=1)[:, :n_neighbors]
        index, distance = _index(nearest), _value(nearest)
        beyond = np.sqrt(np.maximum(self.limit - error, 0)).astype(np.float32)
        return index, distance, np.nonzero(distance[:, -1] >= beyond)[0]


_KNOWN = np.uint64(1)
_NONE = np.uint64((0x7F800000 << 32) | 0xFFFFFFFE)  # at infinity


def _pack(squared: Floats, references: Rows) -> Keys:
    """Return candidates: floats, which sort as whole numbers if not negative, above rows below 2³¹."""
    bits = np.maximum(squared, np.float32(0)).view(np.uint32)
    return (bits.astype(np.uint64) << np.uint64(32)) | (references.astype(np.uint64) << np.uint64(1))


def _value(keys: Keys) -> Floats:
    return (keys >> np.uint64(32)).astype(np.uint32).view(np.float32)


def _index(keys: Keys) -> Rows:
    return ((keys & np.uint64(0xFFFFFFFF)) >> np.uint64(1)).astype(np.int64)


def _where(mask: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """Return rows and columns of the few that are true; faster than `numpy.nonzero` where they are few."""
    place = np.flatnonzero(mask)
    row = place // mask.shape[1] if mask.shape[1] else place
    return row, place - row * mask.shape[1]


def exact_distances(
    query: NDArray[np.floating], rows: Rows, reference: NDArray[np.floating], index: Rows
) -> Floats:
    """Return the Euclidean distances of pairs of points, computed in float64, (n,)."""
    distance = np.empty(len(rows), np.float32)
    step = max(1, _PART_VALUES // query.shape[1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        difference = reference.take(index[part], 0).astype(np.float64)
        difference -= query.take(rows[part], 0)
        distance[part] = np.sqrt(np.vecdot(difference, difference))
    return distance
