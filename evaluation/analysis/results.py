"""What the files of a run directory say: records, tables, ranked trials, compared embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from evaluation.analysis.comparison import Comparison
from evaluation.analysis.embedding_scores import EmbeddingScores
from evaluation.analysis.outdated import outdated
from evaluation.embedders import EmbeddingKey
from evaluation.record import EvaluationRecord
from evaluation.result_tables import EVALUATIONS, PREDICTIONS
from tune.algorithms.objective import SIZES
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord
from tune.storage.tables import EPOCHS, TRIALS, read_frame
from tune.study.ranking import best_first, current_seeds, finalist_ids, full_budget_trials, rank_finalists


@dataclass(frozen=True)
class Results:
    """The records and tables of a run directory; a table without a file is empty.

    Bare checkpoints and embeddings have no study, a search alone has no evaluation.
    """

    study: StudyRecord | None
    evaluation: EvaluationRecord | None
    trials: pd.DataFrame
    epochs: pd.DataFrame
    evaluations: pd.DataFrame
    predictions: pd.DataFrame
    finalist_seeds: pd.DataFrame
    """Only what belongs to the study as it is, see `current_seeds`."""
    outdated: str | None = None
    """A sentence if the evaluation is of another state of the study: nothing is concluded from it then."""

    @classmethod
    def read(cls, run: RunDirectory) -> "Results":
        """Read what is there.

        Raises
        ------
        StorageError
            A file is damaged.
        """
        study = run.read_study() if run.study_file.exists() else None
        results = cls(
            study,
            EvaluationRecord.read(run.evaluation_file) if run.evaluation_file.exists() else None,
            read_frame(run.trials_file, TRIALS),
            read_frame(run.epochs_file, EPOCHS),
            read_frame(run.evaluations_file, EVALUATIONS),
            read_frame(run.predictions_file, PREDICTIONS),
            current_seeds(run, study.arguments.get("max_epochs") if study else None),
        )
        return replace(results, outdated=outdated(run, results.study, results.evaluation, results.trial_rows))

    @property
    def name(self) -> str:
        """The study's name."""
        if self.study:
            return self.study.name
        return self.evaluation.study if self.evaluation else ""

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
        measured = [name for name in self.objectives if name not in SIZES]
        epochs = epochs.reindex(columns=["trial_id", "best_epoch", *measured])
        sizes = {name: trials[SIZES[name]] for name in self.objectives if name in SIZES}
        merged = table.assign(**sizes).merge(epochs, on=["trial_id", "best_epoch"], how="inner")
        return merged.drop(columns="best_epoch").dropna(subset=self.objectives)

    @property
    def winner(self) -> str | None:
        """The trial that comes first: the best finalist, or before an evaluation the best completed trial."""
        if self.finalists and not self.outdated:
            return self.finalists[0]
        if self.study is None:
            return None
        ranked = best_first(full_budget_trials(self.trial_rows, self.study), self.mode)
        return str(ranked[0]["trial_id"]) if ranked else None

    @property
    def finalists(self) -> list[str]:
        """The trials that were evaluated, best first; if the evaluation is outdated, as they were then."""
        if self.evaluation is None:
            return []
        if self.outdated or self.study is None:
            return list(self.evaluation.finalists or ())
        return ranked_finalists(self.study, self.evaluation, self.trial_rows, self.finalist_seeds)

    def is_winner(self, key: EmbeddingKey) -> bool:
        """Return whether an embedding is the best finalist's own; what is made from it is not."""
        if self.outdated:
            return False
        return key.method == "vae" and key.trial_id is not None and key.trial_id == self.winner

    def own_seed(self, trial_id: str | None) -> int | None:
        """Return the seed of a finalist's own model, which is the one that the search trained."""
        seeds = (self.evaluation and self.evaluation.training_seeds) or {}
        return None if trial_id is None else seeds.get(trial_id)

    @cached_property
    def scores(self) -> EmbeddingScores:
        """The scores of the evaluation, by embedding."""
        return EmbeddingScores(self.evaluations, self.predictions)

    @property
    def scored(self) -> bool:
        """Whether there is any KNN accuracy."""
        return not self.scores.knn.empty

    @cached_property
    def comparison(self) -> Comparison:
        """One row for each scored embedding, except those of a finalist's fresh seeds."""
        keys = [key for key in self.scores.keys if key.training_seed == self.own_seed(key.trial_id)]
        winner = next(filter(self.is_winner, keys), None)
        return Comparison.from_scores(self.scores, keys, self.finalists, winner)


def ranked_finalists(
    study: StudyRecord,
    evaluation: EvaluationRecord,
    trials: Sequence[Mapping[str, Any]],
    finalist_seeds: pd.DataFrame,
) -> list[str]:
    """Return the trials that were evaluated, best first, if that was the study as it is."""
    evaluated = list(evaluation.finalists or ())
    n, per_dim = evaluation.n_best, evaluation.finalists_per_dim
    by_objective = finalist_ids(trials, study, study.mode, n, per_dim=per_dim)
    known = by_objective if set(by_objective) == set(evaluated) else evaluated
    return rank_finalists(known, finalist_seeds, study.mode)
