"""A study as its files have it, while it runs or afterwards: what `tune.search` and `tune.load` return."""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tune.algorithms.objective import Objective
from tune.space.display import SHOWN_PARAMS
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord, StudyStatus
from tune.storage.tables import CONFIG_PREFIX, EPOCHS, NEUTRAL_PANEL, TRIALS, read_table
from tune.storage.trial_status import TrialStatus
from tune.study.ranking import full_budget_trials
from vae.errors import StorageError, UsageError

if TYPE_CHECKING:
    import optuna

SHOWN_TRIALS = 10
"""Trials that a notebook shows of a study."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration of a study and how well it did.

    Attributes
    ----------
    trial_id
        Its name, such as ``0003-conv-10d``.
    number
        Its place, from 0, in the order in which the trials were proposed.
    params
        Every hyperparameter of the model and its training.
    value
        The first objective at the best epoch; None before there is one.
    status, stop_reason
        How it ended, see `tune.storage.trial_status`.
    metrics
        The neutral panel at the best epoch.
    checkpoint
        Directory of the model of the best epoch, for `vae.load`; None if it was not kept.
    """

    trial_id: str
    number: int
    params: dict[str, Any] = field(repr=False)
    value: float | None
    status: TrialStatus
    stop_reason: str | None
    metrics: dict[str, float] = field(repr=False)
    checkpoint: Path | None = field(repr=False)

    @classmethod
    def from_row(cls, row: dict[str, Any], run: RunDirectory) -> "Trial":
        """Return the trial of a row of the `trials` table; its checkpoint is fetched if it is elsewhere."""
        checkpoint = run.checkpoint_dir(row["trial_id"]) if row["checkpoint"] else None
        if checkpoint is not None:
            run.fetch(checkpoint)
        return cls(
            trial_id=row["trial_id"],
            number=row["number"],
            params={
                name.removeprefix(CONFIG_PREFIX): value
                for name, value in row.items()
                if name.startswith(CONFIG_PREFIX) and value is not None
            },
            value=row["objective"],
            status=TrialStatus(row["status"]),
            stop_reason=row["stop_reason"],
            metrics={name: row[name] for name in NEUTRAL_PANEL if row.get(name) is not None},
            checkpoint=checkpoint,
        )


class Study:
    """A study: its trials, their epochs and the best of them, read from its run directory at each access.

    `tune.load` opens it. An attribute raises a StorageError if its file cannot be read.

    Examples
    --------
    >>> import tune
    >>> study = tune.load("runs/mine")  # doctest: +SKIP
    >>> study.best_trial.value  # doctest: +SKIP
    0.9701
    >>> study.trials[["trial_id", "status", "objective"]]  # doctest: +SKIP
    """

    def __init__(self, location: str | Path) -> None:
        self.run = RunDirectory.open(location)

    @property
    def record(self) -> StudyRecord:
        """What ``study.json`` says: arguments, data set, versions, hardware, timings."""
        self._refresh()
        return self.run.read_study()

    @property
    def name(self) -> str:
        return self.run.read_study().name

    @property
    def path(self) -> Path:
        """The run directory; of a study under a URI, the local directory that mirrors it."""
        return self.run.path

    @property
    def location(self) -> str:
        """The run directory, or its URI."""
        return self.run.location

    @property
    def status(self) -> StudyStatus:
        """How the study ended. One whose process was killed still says ``running``; `tune.resume` it."""
        return self.record.status

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The metrics that were searched for; the first ranks the trials."""
        record = self.run.read_study()
        return tuple(
            Objective(name, "min" if mode == "min" else "max")
            for name, mode in zip(record.objectives, record.modes, strict=False)
        )

    @property
    def trials(self) -> pd.DataFrame:
        """One row for each trial, in the order in which they were proposed."""
        table = self._table(self.run.trials_file, TRIALS)
        return table.sort_values("number", ignore_index=True)

    @property
    def epochs(self) -> pd.DataFrame:
        """One row for each epoch of each trial."""
        return self._table(self.run.epochs_file, EPOCHS)

    @property
    def best_trial(self) -> Trial:
        """The completed trial with the best first objective.

        While a finished study is being extended to more epochs and none has run them yet, the best of those
        that had completed the budget before.

        Raises
        ------
        UsageError
            No trial has run its full budget.
        """
        rows = self._completed()
        best = self.objectives[0].best(rows)
        if best is None:
            raise UsageError(f"no trial of {self.location} has run its full budget yet")
        return Trial.from_row(best, self.run)

    @property
    def best_trials(self) -> list[Trial]:
        """The Pareto front of several objectives, best first objective first; else the best trial alone."""
        rows = [row for row in self._completed() if row["pareto"]]
        if not rows:
            return [self.best_trial]
        sign = self.objectives[0].sign
        rows.sort(key=lambda row: -sign * (row["objective"] or 0.0))
        return [Trial.from_row(row, self.run) for row in rows]

    @property
    def optuna_study(self) -> "optuna.Study":
        """The study as Optuna knows it, for its plots and importances; do not change it."""
        import optuna
        from optuna.storages.journal import JournalFileBackend

        self._refresh()
        journal = self.run.journal_file
        if not journal.exists():
            raise StorageError(f"cannot read {journal}: it does not exist")
        try:
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
            return optuna.load_study(study_name=None, storage=storage)  # the only one
        except (KeyError, ValueError, OSError) as error:
            raise StorageError(f"cannot read {journal}: {error}") from error

    def _completed(self) -> list[dict[str, Any]]:
        self._refresh()
        if not self.run.trials_file.exists():
            return []
        rows = read_table(self.run.trials_file).to_pylist()
        return [dict(row) for row in full_budget_trials(rows, self.run.read_study())]

    def _table(self, file: Path, schema: Any) -> pd.DataFrame:
        self._refresh()
        table = read_table(file) if file.exists() else schema.empty_table()
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def _refresh(self) -> None:
        if self.run.mirror is not None:
            self.run.mirror.fetch(self.run.path, again=True)

    def __repr__(self) -> str:
        record = self.run.read_study()
        return f"<Study {record.name}: {record.status}, {self.location}>"

    def _repr_html_(self) -> str:
        record, trials, first = self.record, self.trials, self.objectives[0]
        shown = [CONFIG_PREFIX + name for name in SHOWN_PARAMS]
        best = trials.sort_values("objective", ascending=first.mode == "min")[:SHOWN_TRIALS]
        table = best[["trial_id", "status", "objective", "best_epoch", "epochs", *shown]].rename(
            columns={"objective": first.name} | {c: c.removeprefix(CONFIG_PREFIX) for c in shown}
        )
        counts = ", ".join(f"{n} {status}" for status, n in trials["status"].value_counts().items())
        return (
            f"<p><b>{escape(record.name)}</b>: {record.status}, {counts or 'no trials'}; "
            f"<code>{escape(self.location)}</code></p>{table.to_html(index=False, border=0)}"
        )
