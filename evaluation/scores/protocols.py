"""The two protocols of KNN accuracy: cross-validation on the training set, and the test set.

Each is a list of rounds; a round searches its neighbours once and scores every cell of the grid from them.
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
from vae.errors import UsageError
from vae.metrics.knn import vote
from vae.metrics.neighbors import Array, Neighbors, choose_backend, find_neighbors


@dataclass(frozen=True, slots=True)
class Round:
    """One neighbour search: for the whole test set, or for one fold (from 0) of the cross-validation.

    ``structure`` in place of a protocol stands for the scores of `evaluation.scores.structure`.
    """

    protocol: str
    fold: int | None = None

    def __str__(self) -> str:
        return self.protocol if self.fold is None else f"{self.protocol} fold {self.fold + 1}"


@dataclass(frozen=True, slots=True)
class RoundScores:
    """What one round gives: rows of the `evaluations` table, and what is predicted at `REPORTED_SETTINGS`.

    The predictions are int64 (n_test,), in the order of the test images; of the protocol ``test`` alone.
    """

    rows: list[dict[str, Any]]
    predicted: dict[Setting, NDArray[np.int64]] = field(default_factory=dict)


def rounds(grid: KnnGrid) -> list[Round]:
    """Return every round of both protocols."""
    return [Round("test"), *(Round("cv", fold) for fold in range(grid.n_folds))]


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

    The subsets are nested, so the neighbours in one are those in the smaller one merged with those among
    what it adds: all of them together cost no more than the largest. ``seconds`` is what the neighbours of
    this row's subset have cost, so it counts the smaller subsets too.

    Points are (n, dim) and (m, dim), labels (n,) and (m,); only the protocol ``test`` uses those of the test.
    Training images of one group are in one fold.
    The cells that the training set is too small for are left out, see `missing_cells`.

    Raises
    ------
    UsageError
        The points hold NaN or infinity.
    """
    rank = rank_within_class(train_labels, grid.seed)
    if which.protocol == "test":
        reference_rows = np.arange(len(train_labels))
        query, query_labels, query_rank = test, test_labels, np.zeros(len(test_labels), dtype=np.int64)
    else:
        fold = assign_folds(train_labels, grid, train_groups)
        reference_rows, query_rows = np.nonzero(fold != which.fold)[0], np.nonzero(fold == which.fold)[0]
        query, query_labels, query_rank = train[query_rows], train_labels[query_rows], rank[query_rows]
    if len(query_labels) == 0:
        few = "per class" if train_groups is None else "groups"
        raise UsageError(f"{which} has no images: the training set has fewer than {grid.n_folds} {few}")

    scores = RoundScores([])
    started = time.perf_counter()
    sizes = _subset_sizes(train_labels, grid)
    blocks = _blocks(
        reference_rows, rank[reference_rows], [rank.max() + 1 if s is None else s for s in sizes]
    )
    for size, (n_reference, found) in zip(
        sizes, _nested_neighbors(train, query, blocks, max(grid.n_neighbors)), strict=True
    ):
        seconds = time.perf_counter() - started
        asked = slice(None) if size is None else query_rank < size
        if not len(query_labels[asked]):  # a fold of whole groups may hold none of a small subset
            continue
        neighbors = Neighbors(found.index[asked], found.distance[asked])
        ks = [k for k in sorted(grid.n_neighbors) if k <= n_reference]
        for weights in grid.weights:
            for k, predicted in zip(ks, vote(neighbors, train_labels, ks, weights), strict=True):
                share, n_query = float(np.mean(predicted == query_labels[asked])), len(predicted)
                of_test = which.protocol == "test"
                low, high = share_interval(share, n_query) if of_test else (None, None)
                setting = Setting(size, k, weights)
                if of_test and setting in REPORTED_SETTINGS:
                    scores.predicted[setting] = predicted
                scores.rows.append(
                    {
                        "protocol": which.protocol,
                        "fold": which.fold,
                        **asdict(setting),
                        "metric": KNN_ACCURACY,
                        "value": share,
                        "low": low,
                        "high": high,
                        "n_train": n_reference,
                        "n_query": n_query,
                        "seconds": seconds,
                        "seed": grid.seed,
                        "backend": choose_backend(train),
                    }
                )
    return scores


def _subset_sizes(labels: NDArray[np.int64], grid: KnnGrid) -> list[int | None]:
    """The subsets that the classes are large enough for, smallest first, all images last."""
    smallest = np.unique(labels, return_counts=True)[1].min()
    limited = sorted(size for size in grid.samples_per_class if size is not None and size <= smallest)
    return [*limited, *([None] if None in grid.samples_per_class else [])]


def _blocks(
    rows: NDArray[np.int64], rank: NDArray[np.int64], limits: Sequence[int]
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows that each subset adds to the one before it, in the dataset's order."""
    for low, high in pairwise([0, *limits]):
        yield rows[(low <= rank) & (rank < high)]


def _nested_neighbors(
    train: Array, query: Array, blocks: Iterator[NDArray[np.int64]], k: int
) -> Iterator[tuple[int, Neighbors]]:
    """Yield, block by block, how many references there are so far and the nearest of them."""
    found = None
    n_reference = 0
    for block in blocks:
        n_reference += len(block)
        if len(block):
            new = find_neighbors(train[block], query, min(k, len(block)))
            new = Neighbors(block[new.index], new.distance)
            found = new if found is None else found.merge(new, k)
        assert found is not None, "the first subset has no references"
        yield n_reference, found
