"""The two protocols of KNN accuracy: cross-validation on the training set, and the test set.

Each searches its neighbours once and scores every cell of the grid from them.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.scores.confidence import share_interval
from evaluation.scores.settings import KNN_ACCURACY, REPORTED_SETTINGS, KnnGrid, Setting
from vae.metrics.knn import vote
from vae.metrics.neighbors import Array, Neighbors, choose_backend, cross_neighbors, nested_neighbors
from vae.metrics.running_nearest import Rows


@dataclass(frozen=True, slots=True)
class Round:
    """What is scored at once: a protocol, ``test`` or ``cv``, all folds of the cross-validation together.

    ``structure`` in place of a protocol stands for the scores of `evaluation.scores.structure`.
    """

    protocol: str

    def __str__(self) -> str:
        return self.protocol


@dataclass(slots=True)
class RoundScores:
    """What one round gives: rows of the `evaluations` table, and what is predicted at `REPORTED_SETTINGS`.

    The predictions are int64 (n_test,), in the order of the test images; of the protocol ``test`` alone.
    """

    rows: list[dict[str, Any]]
    predicted: dict[Setting, NDArray[np.int64]] = field(default_factory=dict)
    neighbors: Neighbors | None = None
    """Of every query among the whole training set, without its own fold; None unless all were searched."""


ROUNDS = Round("test"), Round("cv")


def rank_within_class(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the place (n,), from 0, of each row in a random order of its class.

    The rows below s are a balanced subset with s rows per class, each subset lies in every larger one, and
    the rank modulo the number of folds gives folds that are stratified in each of them.
    """
    rank = np.empty(len(labels), dtype=np.int64)
    generator = np.random.default_rng(seed)
    for label in np.unique(labels):
        rows = np.nonzero(labels == label)[0]
        rank[generator.permutation(rows)] = np.arange(len(rows))
    return rank


def assign_folds(
    labels: NDArray[np.int64], grid: KnnGrid, groups: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the fold (n,) of each row: stratified in each subset, or keeping groups (n,) whole."""
    if groups is None:
        return rank_within_class(labels, grid.seed) % grid.n_folds
    # Not at the top of the file: torch takes seconds.
    from vae.data.splits import group_folds

    return group_folds(labels, groups, grid.n_folds, grid.seed)


def missing_cells(
    train_labels: NDArray[np.int64], grid: KnnGrid, groups: NDArray[np.int64] | None = None
) -> list[str]:
    """Return a sentence for each part of the grid that the training set is too small for."""
    counts = np.unique(train_labels, return_counts=True)[1]
    gaps = []
    if counts.min() < grid.n_folds:
        gaps.append(
            f"a class in some of the {grid.n_folds} folds of the cross-validation: the smallest has "
            f"{counts.min()} images"
        )
    if too_large := [size for size in grid.samples_per_class if size is not None and size > counts.min()]:
        sizes = ", ".join(map(str, too_large))
        gaps.append(f"{sizes} samples per class: the smallest class has {counts.min()}")
    rank, fold = rank_within_class(train_labels, grid.seed), assign_folds(train_labels, grid, groups)
    for size in grid.samples_per_class:
        if size in too_large:
            continue
        inside = fold if size is None else fold[rank < size]
        n_reference = len(inside) - int(np.bincount(inside).max())
        too_many = [k for k in grid.n_neighbors if k > n_reference]
        if too_many:
            subset = "all images" if size is None else f"{size} samples per class"
            ks = ", ".join(map(str, too_many))
            gaps.append(f"k = {ks} with {subset}: cross-validation has only {n_reference} references")
    return gaps


def score_round(
    which: Round,
    train: Array,
    train_labels: NDArray[np.int64],
    test: Array,
    test_labels: NDArray[np.int64],
    grid: KnnGrid,
    train_groups: NDArray[np.int64] | None = None,
) -> RoundScores:
    """Return what one round gives, its rows without the embedding's own columns.

    The subsets are nested, so all of them together cost little more than the largest. ``seconds`` is what the
    neighbours of this row's subset have cost, so it counts the smaller subsets too; of the cross-validation a
    fold's share.

    Points are (n, dim) and (m, dim), labels (n,) and (m,); only the protocol ``test`` uses those of the test.
    Training images of one group are in one fold.
    The cells and folds that the training set is too small for are left out, see `missing_cells`.

    Raises
    ------
    UsageError
        The points hold NaN or infinity.
    """
    rank = rank_within_class(train_labels, grid.seed)
    folds = assign_folds(train_labels, grid, train_groups)
    scores = RoundScores([])
    started = time.perf_counter()
    sizes = _subset_sizes(train_labels, grid)
    blocks = _blocks(rank, [rank.max() + 1 if size is None else size for size in sizes])
    n_neighbors = max(grid.n_neighbors)
    of_test = which.protocol == "test"
    found: Iterator[list[tuple[Rows, Neighbors]]]
    if of_test:
        every = np.arange(len(test_labels))
        found = ([(every, nearest)] for nearest in nested_neighbors(train, test, blocks, n_neighbors))
    else:
        found = cross_neighbors(train, folds, blocks, n_neighbors)
    n_seen = 0
    parts: list[tuple[Rows, Neighbors]] = []
    for size, block, parts in zip(sizes, blocks, found, strict=True):
        n_seen += len(block)
        seconds = (time.perf_counter() - started) / len(parts)
        for rows, neighbors in parts:
            labels = (test_labels if of_test else train_labels)[rows]
            fold = None if of_test else int(folds[rows[0]])
            n_reference = n_seen - (0 if of_test else len(rows))
            ks = [k for k in sorted(grid.n_neighbors) if k <= n_reference]
            for weights in grid.weights:
                for k, predicted in zip(ks, vote(neighbors, train_labels, ks, weights), strict=True):
                    share = float(np.mean(predicted == labels))
                    low, high = share_interval(share, len(labels)) if of_test else (None, None)
                    setting = Setting(size, k, weights)
                    if of_test and setting in REPORTED_SETTINGS:
                        scores.predicted[setting] = predicted
                    scores.rows.append(
                        {
                            "protocol": which.protocol,
                            "fold": fold,
                            **asdict(setting),
                            "metric": KNN_ACCURACY,
                            "value": share,
                            "low": low,
                            "high": high,
                            "n_train": n_reference,
                            "n_query": len(labels),
                            "seconds": seconds,
                            "seed": grid.seed,
                            "backend": choose_backend(train),
                        }
                    )
    if n_seen == len(train_labels):
        scores.neighbors = _in_rows(parts, len(test_labels if of_test else train_labels), n_neighbors)
    return scores


def _in_rows(parts: Sequence[tuple[Rows, Neighbors]], n: int, n_neighbors: int) -> Neighbors:
    """Put the neighbours of several parts in the order of the rows; at infinity where there are fewer."""
    index = np.zeros((n, n_neighbors), np.int64)
    distance = np.full((n, n_neighbors), np.inf, np.float32)
    for rows, found in parts:
        k = found.index.shape[1]
        index[rows, :k], distance[rows, :k] = found.index, found.distance
    return Neighbors(index, distance)


def _subset_sizes(labels: NDArray[np.int64], grid: KnnGrid) -> list[int | None]:
    """The subsets that the classes are large enough for, smallest first, all images last."""
    smallest = np.unique(labels, return_counts=True)[1].min()
    limited = sorted(size for size in grid.samples_per_class if size is not None and size <= smallest)
    return [*limited, *([None] if None in grid.samples_per_class else [])]


def _blocks(rank: NDArray[np.int64], limits: Sequence[int]) -> list[Rows]:
    """Return the rows that each subset adds to the one before it, in the dataset's order."""
    return [np.nonzero((low <= rank) & (rank < high))[0] for low, high in pairwise([0, *limits])]
