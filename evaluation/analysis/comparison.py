"""How the embeddings of an evaluation compare: a row each, the baselines, and paired differences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import pandas as pd

from evaluation.analysis.embedding_scores import EmbeddingScores, rows_of
from evaluation.embedders import METHODS, EmbeddingKey, position
from evaluation.scores.confidence import PairedDifference, paired_difference, share_interval
from evaluation.scores.settings import ALL_IMAGES_K10, FEW_SHOT_500, Setting
from evaluation.scores.structure import STRUCTURE, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """How good one embedding is; accuracies in [0, 1], None where they were not measured."""

    key: EmbeddingKey
    test: float | None
    """On the test set, at `ALL_IMAGES_K10`."""
    test_interval: tuple[float, float] | None
    """Its 95 % interval over the test images; `FreshSeeds` has that over trainings."""
    few_shot: float | None
    """On the test set, at `FEW_SHOT_500`."""
    cv: float | None
    """Mean over the folds of cross-validation, at `ALL_IMAGES_K10`."""
    cv_std: float | None
    best_setting: Setting | None
    """The setting with the best cross-validation among those with all training images."""
    test_at_best_setting: float | None
    structure: dict[str, float]
    """The scores of `evaluation.scores.structure` by name."""

    @classmethod
    def from_scores(cls, scores: EmbeddingScores, key: EmbeddingKey) -> Self:
        """Collect what the tables say of one embedding."""
        folds = pd.Series(scores.accuracies(key, "cv", ALL_IMAGES_K10), dtype=float)
        tests, best = scores.knn_of(key, "test"), scores.best_setting(key)
        full = tests[rows_of(tests, ALL_IMAGES_K10)]
        test = float(full["value"].iloc[0]) if len(full) else None
        return cls(
            key=key,
            test=test,
            # Not those of the table, which in one of an older version are too narrow close to 0 and 1.
            test_interval=None if test is None else share_interval(test, int(full["n_query"].iloc[0])),
            few_shot=scores.test_accuracy(key, FEW_SHOT_500),
            cv=float(folds.mean()) if len(folds) else None,
            cv_std=float(folds.std()) if len(folds) > 1 else None,
            best_setting=best,
            test_at_best_setting=scores.test_accuracy(key, best),
            structure=scores.structure_of(key),
        )


@dataclass(frozen=True)
class Comparison:
    """The rows of all scored embeddings; iterating over it gives the rows."""

    scores: EmbeddingScores
    rows: list[ComparisonRow]
    """By method, finalists best first, small dimensions first; a finalist has one, the search's own model."""
    winner: ComparisonRow | None
    """The row of the best finalist; None without one."""

    @classmethod
    def from_scores(
        cls,
        scores: EmbeddingScores,
        keys: Sequence[EmbeddingKey],
        finalists: Sequence[str],
        winner: EmbeddingKey | None,
    ) -> Self:
        """Compare the embeddings ``keys``; ``finalists`` are trials, best first, ``winner`` is one key."""
        ordered = sorted(
            keys,
            key=lambda key: (
                position(key.method),
                finalists.index(key.trial_id) if key.trial_id in finalists else 0,
                key.dim,
            ),
        )
        rows = [ComparisonRow.from_scores(scores, key) for key in ordered]
        return cls(scores, rows, next((row for row in rows if row.key == winner), None))

    def __iter__(self) -> Iterator[ComparisonRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def keys(self) -> list[EmbeddingKey]:
        """The compared embeddings, in the order of the rows."""
        return [row.key for row in self.rows]

    @property
    def structure(self) -> dict[str, Score]:
        """The scores of `evaluation.scores.structure` that any embedding has, by name."""
        return {n: s for n, s in STRUCTURE.items() if any(n in row.structure for row in self.rows)}

    @property
    def baselines(self) -> list[ComparisonRow]:
        """One row of each method that is a baseline, at the winner's dimension or close to it."""
        if self.winner is None:
            return []
        methods = [name for name, method in METHODS.items() if method.is_baseline]
        return [row for method in methods if (row := self.closest(method)) is not None]

    def closest(self, method: str) -> ComparisonRow | None:
        """Return a method's row at the winner's dimension, or at the closest that was evaluated."""
        rows = [row for row in self.rows if row.key.method == method]
        target = self.winner.key.dim if self.winner else 0
        return min(rows, key=lambda row: abs(row.key.dim - target), default=None)

    def difference_to(self, key: EmbeddingKey) -> PairedDifference | None:
        """Return the winner's accuracy minus that of another embedding, paired by test image.

        None without a winner, or where the predictions of either are not known.
        """
        if self.winner is None:
            return None
        first, second = self.scores.is_correct(self.winner.key), self.scores.is_correct(key)
        return paired_difference(first, second) if len(first) == len(second) > 0 else None
