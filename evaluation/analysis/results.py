"""What the files of a run directory say together, for the terminal, the figures and the report."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.embedders import METHODS, EmbeddingKey
from evaluation.result_tables import EVALUATIONS, PREDICTIONS
from evaluation.scores.confidence import PairedDifference, paired_difference
from evaluation.scores.protocols import ALL_IMAGES_K10, FEW_SHOT_500, KNN_ACCURACY, Setting
from evaluation.scores.structure import STRUCTURE, Score
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord
from tune.storage.tables import EPOCHS, FINALIST_SEEDS, TRIALS, read_frame
from tune.study.ranking import rank_finalists


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How good one embedding is; accuracies in [0, 1], None where they were not measured."""

    key: EmbeddingKey
    test: float | None
    test_interval: tuple[float, float] | None
    """95 %, over the test images; what another training would give is `FreshSeeds`."""
    test_few: float | None
    cv: float | None
    cv_std: float | None
    chosen: Setting | None
    """The setting with the best cross-validation among those with all training images."""
    test_chosen: float | None
    structure: dict[str, float]
    """The scores of `evaluation.scores.structure` by name."""


@dataclass(frozen=True)
class Results:
    """The tables of a run directory, empty where a file is not there, and its two records, None likewise."""

    study: StudyRecord | None
    evaluation: dict[str, Any] | None
    trials: pd.DataFrame
    epochs: pd.DataFrame
    evaluations: pd.DataFrame
    predictions: pd.DataFrame
    finalist_seeds: pd.DataFrame

    @classmethod
    def read(cls, run: RunDirectory) -> "Results":
        """Read what is there.

        Raises
        ------
        StorageError
            A file is damaged.
        """
        return cls(
            run.read_study() if run.study_file.exists() else None,
            run.read_evaluation() if run.evaluation_file.exists() else None,
            read_frame(run.trials_file, TRIALS),
            read_frame(run.epochs_file, EPOCHS),
            read_frame(run.evaluations_file, EVALUATIONS),
            read_frame(run.predictions_file, PREDICTIONS),
            read_frame(run.finalist_seeds_file, FINALIST_SEEDS),
        )

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.name if self.study else str((self.evaluation or {}).get("study", ""))

    @property
    def objectives(self) -> list[str]:
        """The metrics that were searched for; the first ranks the trials."""
        return self.study.objectives if self.study else ["val_knn_accuracy"]

    @property
    def mode(self) -> str:
        """The better direction of the first objective: min or max."""
        return self.modes[0]

    @property
    def modes(self) -> list[str]:
        """The better direction of each objective."""
        return self.study.modes if self.study else ["max"]

    @cached_property
    def ranked_trials(self) -> pd.DataFrame:
        """The trials: the Pareto front of several objectives, others with the full budget, the rest."""
        rank = self.trials["status"].map({"completed": 1, "stopped_early": 2}).fillna(3)
        order = self.trials.assign(_rank=rank.mask((rank == 1) & self.trials["pareto"].eq(True), 0))
        order = order.sort_values(
            ["_rank", "objective", "number"], ascending=[True, self.mode == "min", True]
        )
        return order.drop(columns="_rank").reset_index(drop=True)

    @cached_property
    def trial_rows(self) -> list[dict[str, Any]]:
        """The ranked trials as rows, with None for what is missing."""
        table = self.ranked_trials.astype(object)
        rows: list[dict[str, Any]] = [
            {str(name): value for name, value in row.items()}
            for row in table.where(table.notna(), None).to_dict("records")
        ]
        return rows

    @cached_property
    def objective_values(self) -> pd.DataFrame:
        """One row per trial with any value: ``trial_id``, ``status``, ``pareto``, a column per objective."""
        trials = self.ranked_trials
        table = trials[["trial_id", "status", "best_epoch"]].assign(pareto=trials["pareto"].eq(True))
        # Not every objective has a column of its own among the trials; each epoch has them all.
        epochs = self.epochs.rename(columns={"epoch": "best_epoch"})
        epochs = epochs.reindex(columns=["trial_id", "best_epoch", *self.objectives])
        merged = table.merge(epochs, on=["trial_id", "best_epoch"], how="inner")
        return merged.drop(columns="best_epoch").dropna(subset=self.objectives)

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
        evaluated = (self.evaluation or {}).get("finalists", [])
        return rank_finalists(evaluated, self.finalist_seeds, self.mode)

    @property
    def labels_sentence(self) -> str | None:
        """What is to be said of conditional VAEs, whose comparison with unsupervised methods is not fair."""
        told = (self.evaluation or {}).get("trained_with_labels")
        if not told:
            return None
        return (
            f"trained with labels (conditional): {', '.join(told)}; images were embedded without theirs, all "
            "other methods never saw a label"
        )

    @cached_property
    def keys(self) -> list[EmbeddingKey]:
        """The embeddings that were scored: by method, finalists best first, small dimensions first.

        Of each finalist the model of the search alone; `replicas` has those of its fresh seeds.
        """
        methods, finalists = list(METHODS), self.finalists
        return sorted(
            (key for key in self._scored if key.training_seed == self.own_seed(key.trial_id)),
            key=lambda key: (
                methods.index(key.method) if key.method in methods else len(methods),
                finalists.index(key.trial_id) if key.trial_id in finalists else 0,
                key.dim,
            ),
        )

    def replicas(self, trial_id: str) -> list[EmbeddingKey]:
        """Return the embeddings of a finalist's fresh seeds."""
        own = self.own_seed(trial_id)
        return [
            key
            for key in self._scored
            if (key.method, key.trial_id) == ("vae", trial_id) and key.training_seed != own
        ]

    def own_seed(self, trial_id: str | None) -> int | None:
        """Return the seed of a finalist's own model, which is the one that the search trained."""
        seeds: dict[str | None, int] = (self.evaluation or {}).get("training_seeds", {})
        return seeds.get(trial_id)

    @cached_property
    def _scored(self) -> list[EmbeddingKey]:
        columns = ["method", "dim", "trial_id", "training_seed"]
        found = self.evaluations[columns].drop_duplicates().astype(object)
        return [
            EmbeddingKey(method, dim, trial_id, None if seed is None else int(seed))
            for method, dim, trial_id, seed in found.where(found.notna(), None).to_numpy()
        ]

    def scores(self, key: EmbeddingKey, protocol: str) -> pd.DataFrame:
        """Return the KNN accuracies of one embedding in one protocol."""
        return self.knn[_of(self.knn, key) & (self.knn["protocol"] == protocol)]

    @cached_property
    def knn(self) -> pd.DataFrame:
        """The KNN accuracies of all embeddings, in both protocols."""
        return self.evaluations[self.evaluations["metric"] == KNN_ACCURACY]

    def accuracies(self, key: EmbeddingKey, protocol: str, setting: Setting) -> list[float]:
        """Return the accuracy of each fold, or the one of the test set; empty if it was not measured."""
        scores = self.scores(key, protocol)
        values: list[float] = scores[_at(scores, setting)]["value"].tolist()
        return values

    def votes(self, key: EmbeddingKey, setting: Setting = ALL_IMAGES_K10) -> pd.DataFrame:
        """Return ``index``, ``label`` and ``predicted`` of each test image; empty if they are not known."""
        chosen = self.predictions[_of(self.predictions, key)]
        return chosen[_at(chosen, setting)][["index", "label", "predicted"]].sort_values("index")

    def right(self, key: EmbeddingKey) -> NDArray[np.bool_]:
        """Return which test images (n,) are voted right at `ALL_IMAGES_K10`; empty if that is not known."""
        votes = self.votes(key)
        return (votes["predicted"] == votes["label"]).to_numpy(dtype=bool)

    def lead(self, other: EmbeddingKey) -> PairedDifference | None:
        """Return what the winner is ahead of another embedding by, on the same test images."""
        if self.winner_row is None:
            return None
        first, second = self.right(self.winner_row.key), self.right(other)
        return paired_difference(first, second) if len(first) == len(second) > 0 else None

    def _chosen(self, key: EmbeddingKey) -> Setting | None:
        """Return the setting that cross-validation would choose, all training images given."""
        scores = self.scores(key, "cv")
        whole = scores[scores["samples_per_class"].isna()]
        if whole.empty:
            return None
        means = whole.groupby(["n_neighbors", "weights"], as_index=False)["value"].mean()
        best = means.loc[means["value"].idxmax()]
        return Setting(None, int(best["n_neighbors"]), str(best["weights"]))

    def _structure(self, key: EmbeddingKey) -> dict[str, float]:
        scores = self.evaluations[_of(self.evaluations, key)].set_index("metric")["value"]
        return {name: float(scores[name]) for name in STRUCTURE if name in scores.index}

    @cached_property
    def comparison(self) -> list[Comparison]:
        """One row for each scored embedding."""
        rows = []
        for key in self.keys:
            folds = pd.Series(self.accuracies(key, "cv", ALL_IMAGES_K10), dtype=float)
            tests, chosen = self.scores(key, "test"), self._chosen(key)
            full = tests[_at(tests, ALL_IMAGES_K10)][["value", "low", "high"]].to_numpy(float)
            rows.append(
                Comparison(
                    key=key,
                    test=float(full[0, 0]) if len(full) else None,
                    test_interval=(
                        (float(full[0, 1]), float(full[0, 2]))
                        if len(full) and np.isfinite(full[0]).all()
                        else None
                    ),
                    test_few=next(iter(self.accuracies(key, "test", FEW_SHOT_500)), None),
                    cv=float(folds.mean()) if len(folds) else None,
                    cv_std=float(folds.std()) if len(folds) > 1 else None,
                    chosen=chosen,
                    test_chosen=next(iter(self.accuracies(key, "test", chosen)), None) if chosen else None,
                    structure=self._structure(key),
                )
            )
        return rows

    @property
    def structure(self) -> dict[str, Score]:
        """The scores of `evaluation.scores.structure` that any embedding has, by name."""
        return {n: s for n, s in STRUCTURE.items() if any(n in row.structure for row in self.comparison)}

    @property
    def scored(self) -> bool:
        """Whether there is any KNN accuracy."""
        return not self.knn.empty

    @property
    def winner_row(self) -> Comparison | None:
        """The row of the best finalist's embedding."""
        return next((row for row in self.comparison if self.is_winner(row.key)), None)

    def is_winner(self, key: EmbeddingKey) -> bool:
        """Return whether an embedding is the best finalist's own; what is made from it is not."""
        return key.method == "vae" and key.trial_id is not None and key.trial_id == self.winner

    @property
    def rivals(self) -> list[Comparison]:
        """One row of each method that is not a VAE alone, at the winner's dimension or close to it."""
        if self.winner_row is None:
            return []
        methods = [name for name, method in METHODS.items() if method.is_baseline]
        return [row for method in methods if (row := self.closest(method)) is not None]

    def closest(self, method: str) -> Comparison | None:
        """Return a method's row at the winner's dimension, or at the closest that was evaluated."""
        rows = [row for row in self.comparison if row.key.method == method]
        target = self.winner_row.key.dim if self.winner_row else 0
        return min(rows, key=lambda row: abs(row.key.dim - target), default=None)


def _of(table: pd.DataFrame, key: EmbeddingKey) -> pd.Series:
    """Return which rows belong to an embedding."""
    trial, seed = table["trial_id"], table["training_seed"]
    return (
        (table["method"] == key.method)
        & (table["dim"] == key.dim)
        & (trial.isna() if key.trial_id is None else trial == key.trial_id)
        & (seed.isna() if key.training_seed is None else seed == key.training_seed)
    )


def _at(table: pd.DataFrame, setting: Setting) -> pd.Series:
    """Return which rows belong to a setting."""
    size = table["samples_per_class"]
    return (
        (size.isna() if setting.samples_per_class is None else size == setting.samples_per_class)
        & (table["n_neighbors"] == setting.n_neighbors)
        & (table["weights"] == setting.weights)
    )
