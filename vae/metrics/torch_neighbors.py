"""Exact nearest neighbours on the device of the tensors, in float64."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vae.metrics.running_nearest import Neighbors, Rows, nearest

# Candidates beyond k, so that neighbours at equal distance are chosen by index and not by the backend.
_TIE_CANDIDATES = 4
_BLOCK_BYTES = 2**30

Array = np.ndarray | torch.Tensor


def nested(reference: Array, query: Array, blocks: Sequence[Rows], n_neighbors: int) -> Iterator[Neighbors]:
    """See `vae.metrics.neighbors.nested_neighbors`."""
    found = None
    for block in blocks:
        if len(block):
            k = min(n_neighbors, len(block))
            new = _find(torch.as_tensor(reference)[block], torch.as_tensor(query), k)
            new = Neighbors(block[new.index], new.distance)
            found = new if found is None else found.merge(new, n_neighbors)
        assert found is not None, "the first block has no references"
        yield found


def cross(
    points: Array, group: Rows, blocks: Sequence[Rows], n_neighbors: int
) -> Iterator[list[tuple[Rows, Neighbors]]]:
    """See `vae.metrics.neighbors.cross_neighbors`."""
    searches = []
    for name in np.unique(group):
        own, others = (
            [block[(group[block] == name) == is_own] for block in blocks] for is_own in (True, False)
        )
        rows = np.concatenate(own)
        found = nested(points, torch.as_tensor(points)[rows], others, n_neighbors)
        searches.append((rows, np.cumsum([len(block) for block in own]), found))
    for subset, n_points in enumerate(np.cumsum([len(block) for block in blocks])):
        yield [
            (rows[:n_own], Neighbors(new.index[:n_own], new.distance[:n_own]))
            for rows, counts, found in searches
            if (n_own := counts[subset]) < n_points and (new := next(found))
        ]


def _find(reference: torch.Tensor, query: torch.Tensor, n_neighbors: int) -> Neighbors:
    k = min(n_neighbors + _TIE_CANDIDATES, len(reference))
    index, distance = _search(reference, query, k)
    # Copied once, not for each query with equal distances: a copy from the device waits for it.
    references, queries = (points.detach().cpu().numpy() for points in (reference, query))
    _recompute_short_distances(references, queries, index, distance)
    found = nearest(index, distance.astype(np.float32), k)
    if k < len(references):
        _break_ties(references, queries, found, n_neighbors)
    return Neighbors(found.index[:, :n_neighbors], found.distance[:, :n_neighbors])


def _search(
    reference: torch.Tensor, query: torch.Tensor, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    # float64: |x|² - 2xy + |y|² in float32 would put neighbours in another order than the differences do.
    x, y = query.double(), reference.double()
    y_squared = y.square().sum(1)
    indices, distances = [], []
    for block in x.split(max(1, _BLOCK_BYTES // (8 * len(y)))):
        squared = torch.addmm(y_squared, block, y.T, alpha=-2)
        found = squared.topk(k, largest=False)
        indices.append(found.indices.cpu())
        distances.append((found.values + block.square().sum(1, keepdim=True)).clamp_min(0).sqrt().cpu())
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
        order = np.argsort(distance, kind="stable")[:k]
        found.index[row], found.distance[row] = order, distance[order]
