"""Exact nearest neighbours, searched once at the largest k; every score takes a prefix of them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vae.errors import UsageError
from vae.metrics import torch_neighbors
from vae.metrics.running_nearest import Neighbors, Operands, Rows, RunningNearest

BACKENDS = ("numpy", "torch")

TILE = 768
"""Queries and references of one tile of distances: 2 MiB, which stay in the processor's cache."""
_CHECKED_ROWS = 2**14
Array = np.ndarray | torch.Tensor


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
    nested = torch_neighbors.nested if backend == "torch" else _nested_numpy
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
    cross = torch_neighbors.cross if choose_backend(points) == "torch" else _cross_numpy
    yield from cross(points, group, blocks, n_neighbors)


def own_group_neighbors(points: np.ndarray, group: Rows, n_neighbors: int) -> Neighbors:
    """Return the neighbours of each point among those of its own group, itself included.

    With `cross_neighbors` of the same groups, merged, these are its neighbours among all.

    Parameters
    ----------
    points
        (n, dim).
    group
        (n,).
    n_neighbors
        How many there are for each point; at an infinite distance where the group has fewer.

    Raises
    ------
    UsageError
        The points hold NaN or infinity.
    """
    _check_finite(train=points)
    index = np.zeros((len(points), n_neighbors), np.int64)
    distance = np.full((len(points), n_neighbors), np.inf, np.float32)
    operands = Operands(points, points.mean(axis=0, dtype=np.float64))
    error = operands.error(operands.length.max())
    for name in np.unique(group):
        members = np.flatnonzero(group == name)
        k = min(n_neighbors, len(members))
        parts: list[tuple[Rows, RunningNearest]] = []
        for rows in _parts(members):
            search, operand = RunningNearest(len(rows), k), operands.right(rows).T
            search.add(operands.left[rows] @ operand, rows)
            for other_rows, other_search in parts:
                tile = operands.left[other_rows] @ operand
                other_search.add(tile, rows)
                search.add_transposed(tile, other_rows)
            parts.append((rows, search))
        for rows, search in parts:
            found = _finish(search, points[rows], points, error[rows], members, k)
            index[rows, :k], distance[rows, :k] = found.index, found.distance
    return Neighbors(index, distance)


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


def _check_finite(**points: Array) -> None:
    for name, array in points.items():
        # In parts: at once it takes more memory than the points themselves.
        if not all(torch.isfinite(part).all() for part in torch.as_tensor(array).split(_CHECKED_ROWS)):
            raise UsageError(f"the {name} points must be finite, got NaN or infinity")


def _numpy(array: Array) -> np.ndarray:
    return array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
