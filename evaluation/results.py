"""What the files of a run directory say together, for the terminal, the figures and the report."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from evaluation.embedders import METHODS, EmbeddingKey
from evaluation.run_directory import RunDirectory
from evaluation.tables import EPOCHS, EVALUATIONS, TRIALS, read_table


@dataclass(frozen=True, slots=True)
class Setting:
    """One cell of the accuracy grid; ``samples_per_class`` None is the whole training set."""

    samples_per_class: int | None
    n_neighbors: int
    weights: str


# Those of the published figures that ours are compared with.
FULL = Setting(None, 10, "distance")
FEW = Setting(500, 10, "uniform")


@dataclass(frozen=True, slots=True)
class Comparison:
    """How good one embedding is; accuracies in [0, 1], None where they were not measured."""

    key: EmbeddingKey
    test: float | None
    test_few: float | None
    cv: float | None
    cv_std: float | None


@dataclass(frozen=True)
class Results:
    """The tables of a run directory, empty where a file is not there, and its two records, None likewise."""

    study: dict[str, Any] | None
    evaluation: dict[str, Any] | None
    trials: pd.DataFrame
    epochs: pd.DataFrame
    evaluations: pd.DataFrame

    @classmethod
    def read(cls, run: RunDirectory) -> "Results":
        """Read what is there.

        Raises
        ------
        StorageError
            A file is damaged.
        """
        trials, epochs, evaluations = (
            read_table(path).to_pandas() if path.exists() else schema.empty_table().to_pandas()
            for path, schema in (
                (run.trials_file, TRIALS),
                (run.epochs_file, EPOCHS),
                (run.evaluations_file, EVALUATIONS),
            )
        )
        return cls(
            run.read_study() if run.study_file.exists() else None,
            run.read_evaluation() if run.evaluation_file.exists() else None,
            trials,
            epochs,
            evaluations,
        )

    @property
    def name(self) -> str:
        """The study's name."""
        record = self.study or {"name": (self.evaluation or {}).get("study", "")}
        return str(record["name"])

    @cached_property
    def ranked_trials(self) -> pd.DataFrame:
        """The trials, those that ran their full budget first, best first."""
        best_first = (self.study or {}).get("mode", "max") == "min"
        order = self.trials.assign(
            _rank=self.trials["status"].map({"completed": 0, "stopped_early": 1}).fillna(2)
        )
        order = order.sort_values(["_rank", "objective", "number"], ascending=[True, best_first, True])
        return order.drop(columns="_rank").reset_index(drop=True)

    @property
    def winner(self) -> str | None:
        """The trial that comes first: the best finalist, or before an evaluation the best completed trial."""
        if self.finalists:
            return self.finalists[0]
        completed = self.ranked_trials.query("status == 'completed' and objective.notna()")
        return None if completed.empty else str(completed["trial_id"].iloc[0])

    @property
    def finalists(self) -> list[str]:
        """The trials that were evaluated, best first."""
        return list((self.evaluation or {}).get("finalists", []))

    @cached_property
    def keys(self) -> list[EmbeddingKey]:
        """The embeddings that were scored: by method, finalists best first, small dimensions first."""
        found = self.evaluations[["method", "dim", "trial_id"]].drop_duplicates().astype(object)
        keys = [EmbeddingKey(*row) for row in found.where(found.notna(), None).to_numpy()]
        methods, finalists = list(METHODS), self.finalists
        return sorted(
            keys,
            key=lambda key: (
                methods.index(key.method) if key.method in methods else len(methods),
                finalists.index(key.trial_id) if key.trial_id in finalists else 0,
                key.dim,
            ),
        )

    def scores(self, key: EmbeddingKey, protocol: str) -> pd.DataFrame:
        """Return the rows of one embedding in one protocol."""
        table = self.evaluations
        trial = table["trial_id"].isna() if key.trial_id is None else table["trial_id"] == key.trial_id
        return table[
            (table["method"] == key.method)
            & (table["dim"] == key.dim)
            & trial
            & (table["protocol"] == protocol)
            & (table["metric"] == "knn_accuracy")
        ]

    def accuracies(self, key: EmbeddingKey, protocol: str, setting: Setting) -> list[float]:
        """Return the accuracy of each fold, or the one of the test set; empty if it was not measured."""
        scores = self.scores(key, protocol)
        size = scores["samples_per_class"]
        asked = scores[
            (size.isna() if setting.samples_per_class is None else size == setting.samples_per_class)
            & (scores["n_neighbors"] == setting.n_neighbors)
            & (scores["weights"] == setting.weights)
        ]
        return asked["value"].tolist()

    @cached_property
    def comparison(self) -> list[Comparison]:
        """One row for each scored embedding."""
        rows = []
        for key in self.keys:
            folds = pd.Series(self.accuracies(key, "cv", FULL), dtype=float)
            rows.append(
                Comparison(
                    key,
                    next(iter(self.accuracies(key, "test", FULL)), None),
                    next(iter(self.accuracies(key, "test", FEW)), None),
                    float(folds.mean()) if len(folds) else None,
                    float(folds.std()) if len(folds) > 1 else None,
                )
            )
        return rows

    @property
    def winner_row(self) -> Comparison | None:
        """The row of the best finalist's embedding."""
        return next(
            (r for r in self.comparison if r.key.trial_id is not None and r.key.trial_id == self.winner), None
        )

    def baseline(self, method: str) -> Comparison | None:
        """Return a method's row at the winner's dimension, or at the closest that was evaluated."""
        rows = [row for row in self.comparison if row.key.method == method]
        target = self.winner_row.key.dim if self.winner_row else 0
        return min(rows, key=lambda row: abs(row.key.dim - target), default=None)
