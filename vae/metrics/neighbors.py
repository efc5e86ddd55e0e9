"""Exact nearest neighbours, searched once at the largest k; every score takes a prefix of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from vae.errors import UsageError
from vae.metrics.running_nearest import Operands, Rows, RunningNearest

BACKENDS = ("numpy", "torch")

TILE = 1024
"""Queries and references of one tile of distances: 4 MiB, which stay in the processor's cache."""
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
    return "torch" if isinstance(array, torch.Tensor) and array.is_cuda else "numpy"


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
        ``numpy`` (CPU), ``torch`` (the tensors' device) or ``auto``: torch for CUDA tensors.

    Raises
    ------
    UsageError
        ``n_neighbors`` is out of range, the backend is unknown, or the points hold NaN or infinity.
    """
    if not 1 <= n_neighbors <= len(reference):
        raise UsageError(
            f"n_neighbors must be between 1 and the {len(reference)} references, got {n_neighbors}"
        )
    blocks = [np.arange(len(reference))]
    return next(nested_neighbors(reference, query, blocks, n_neighbors, backend=backend))


def nested_neighbors(
    reference: Array,
    query: Array,
    blocks: Sequence[Rows],
    n_neighbors: int,
    *,
    backend: str = "auto",
) -> Iterator[Neighbors]:
    """Yield the neighbours among the references of the first block, of the first two, and so on.

    All of them together cost little more than the last.

    Parameters
    ----------
    reference, query, backend
        As for `find_neighbors`.
    blocks
        Disjoint rows of the reference; the first must not be empty.
    n_neighbors
        How many are asked for; there are fewer where a block has fewer references.

    Raises
    ------
    UsageError
        The backend is unknown, or the points hold NaN or infinity.
    """
    backend = choose_backend(reference) if backend == "auto" else backend
    if backend not in BACKENDS:
        raise UsageError(f"backend must be one of {', '.join(BACKENDS)}, got '{backend}'")
    _check_finite(reference=reference, query=query)
    nested = _nested_torch if backend == "torch" else _nested_numpy
    yield from nested(reference, query, blocks, n_neighbors)


def cross_neighbors(
    points: Array, group: Rows, blocks: Sequence[Rows], n_neighbors: int
) -> Iterator[list[tuple[Rows, Neighbors]]]:
    """Yield the neighbours of each point among those of other groups, in nested subsets.

    On the CPU every pair of points is measured once, not once from each side.

    Parameters
    ----------
    points
        (n, dim).
    group
        (n,), for example the fold that a point belongs to.
    blocks
        Disjoint rows; a subset is the first block, the first two, and so on.
    n_neighbors
        How many are asked for; there are fewer where the other groups have fewer points.

    Yields
    ------
    list
        For each subset: the rows of each of its groups, with their neighbours. A group without others is left
        out.

    Raises
    ------
    UsageError
        The points hold NaN or infinity.
    """
    _check_finite(train=points)
    cross = _cross_torch if choose_backend(points) == "torch" else _cross_numpy
    yield from cross(points, group, blocks, n_neighbors)


def _nested_numpy(
    reference: Array, query: Array, blocks: Sequence[Rows], n_neighbors: int
) -> Iterator[Neighbors]:
    references, queries = _numpy(reference), _numpy(query)
    centre = references.mean(axis=0, dtype=np.float64)
    left, right = Operands(queries, centre), Operands(references, centre)
    error = left.error(right.length.max())
    parts = _parts(np.arange(len(queries)))
    searches = [RunningNearest(len(part), n_neighbors) for part in parts]
    seen = np.empty(0, np.int64)
    for block in blocks:
        for columns in _parts(block):
            operand = right.right(columns).T
            for part, search in zip(parts, searches, strict=True):
                search.add(left.left[part] @ operand, columns)
        seen = np.concatenate([seen, block])
        found = [
            _finish(search, queries[part], references, error[part], seen, n_neighbors)
            for part, search in zip(parts, searches, strict=True)
        ]
        yield _joined(found)


def _cross_numpy(
    points: Array, group: Rows, blocks: Sequence[Rows], n_neighbors: int
) -> Iterator[list[tuple[Rows, Neighbors]]]:
    array = _numpy(points)
    operands = Operands(array, array.mean(axis=0, dtype=np.float64))
    error = operands.error(operands.length.max())
    groups = np.unique(group)
    parts: list[tuple[int, Rows, RunningNearest]] = []
    seen = np.empty(0, np.int64)
    for block in blocks:
        of_groups = [_parts(block[group[block] == name]) for name in groups]
        # In turn, so that the first tiles of each already bound its distances.
        for turn in range(max(map(len, of_groups))):
            for name, of_group in zip(groups, of_groups, strict=True):
                if turn >= len(of_group):
                    continue
                rows = of_group[turn]
                search, operand = RunningNearest(len(rows), n_neighbors), operands.right(rows).T
                for other, other_rows, other_search in parts:
                    if other != name:
                        tile = operands.left[other_rows] @ operand
                        other_search.add(tile, rows)
                        search.add_transposed(tile, other_rows)
                parts.append((name, rows, search))
        seen = np.concatenate([seen, block])
        yield [
            (np.concatenate([rows for _, rows, _ in own]), _joined(found))
            for name in groups
            if len(others := seen[group[seen] != name])
            and (own := [part for part in parts if part[0] == name])
            and (
                found := [
                    _finish(search, array[rows], array, error[rows], others, n_neighbors)
                    for _, rows, search in own
                ]
            )
        ]


def _finish(
    search: RunningNearest,
    query: NDArray[Any],
    reference: NDArray[Any],
    error: NDArray[np.float64],
    seen: Rows,
    n_neighbors: int,
) -> Neighbors:
    """Return the neighbours of one part, searching anew where rounding could have decided."""
    n_neighbors = min(n_neighbors, len(seen))
    index, distance, doubtful = search.nearest(query, reference, error, n_neighbors)
    for row in doubtful:
        difference = reference[seen].astype(np.float64) - query[row]
        every = np.sqrt((difference**2).sum(1)).astype(np.float32)
        nearest = np.lexsort((seen, every))[:n_neighbors]
        index[row], distance[row] = seen[nearest], every[nearest]
    return Neighbors(index, distance)


def _parts(rows: Rows) -> list[Rows]:
    return [rows[start : start + TILE] for start in range(0, len(rows), TILE)]


def _joined(found: Sequence[Neighbors]) -> Neighbors:
    return Neighbors(
        np.concatenate([part.index for part in found]), np.concatenate([part.distance for part in found])
    )


def _nested_torch(
    reference: Array, query: Array, blocks: Sequence[Rows], n_neighbors: int
) -> Iterator[Neighbors]:
    found = None
    for block in blocks:
        if len(block):
            k = min(n_neighbors, len(block))
            new = _find_torch(torch.as_tensor(reference)[block], torch.as_tensor(query), k)
            new = Neighbors(block[new.index], new.distance)
            found = new if found is None else found.merge(new, n_neighbors)
        assert found is not None, "the first block has no references"
        yield found


def _cross_torch(
    points: Array, group: Rows, blocks: Sequence[Rows], n_neighbors: int
) -> Iterator[list[tuple[Rows, Neighbors]]]:
    searches = []
    for name in np.unique(group):
        own, others = (
            [block[(group[block] == name) == is_own] for block in blocks] for is_own in (True, False)
        )
        rows = np.concatenate(own)
        found = _nested_torch(points, torch.as_tensor(points)[rows], others, n_neighbors)
        searches.append((rows, np.cumsum([len(block) for block in own]), found))
    for n_rows in range(len(blocks)):
        yield [
            (rows[: counts[n_rows]], Neighbors(new.index[: counts[n_rows]], new.distance[: counts[n_rows]]))
            for rows, counts, found in searches
            if counts[n_rows] < sum(map(len, blocks[: n_rows + 1])) and (new := next(found))
        ]


def _find_torch(reference: torch.Tensor, query: torch.Tensor, n_neighbors: int) -> Neighbors:
    k = min(n_neighbors + _TIE_CANDIDATES, len(reference))
    index, distance = _search_torch(reference, query, k)
    # Copied once, not for each query with equal distances: a copy from the device waits for it.
    references, queries = _numpy(reference), _numpy(query)
    _recompute_short_distances(references, queries, index, distance)
    found = _nearest(index, distance.astype(np.float32), k)
    if k < len(references):
        _break_ties(references, queries, found, n_neighbors)
    return Neighbors(found.index[:, :n_neighbors], found.distance[:, :n_neighbors])


def _search_torch(
    reference: torch.Tensor, query: torch.Tensor, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    # float64: |x|² - 2xy + |y|² in float32 would put neighbours in another order than the differences do.
    x, y = query.double(), reference.double()
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


def _check_finite(**points: Array) -> None:
    for name, array in points.items():
        if not torch.isfinite(torch.as_tensor(array)).all():
            raise UsageError(f"the {name} points must be finite, got NaN or infinity")


def _numpy(array: Array) -> np.ndarray:
    return array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
