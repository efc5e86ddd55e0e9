"""The rows of a study that its driver holds: what becomes `trials.parquet` and `epochs.parquet`."""

import logging
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tune.algorithms.budget import Budget
from tune.algorithms.objective import SIZES, Objective, pareto_front
from tune.algorithms.outcome import Outcome
from tune.storage.run_directory import RunDirectory, check_trial_id
from tune.storage.tables import CONFIG_PREFIX, EPOCHS, NEUTRAL_PANEL, TRIALS, read_rows, write_table
from tune.storage.trial_status import TIME_ATTR, StopReason, TrialStatus
from tune.trials.checkpoints import keep_best
from vae.config import Config
from vae.errors import StorageError

logger = logging.getLogger(__name__)

_SCHEDULE_EPOCHS = CONFIG_PREFIX + "schedule_epochs"
_REPORTED = [name for name in EPOCHS.names if name not in ("study", "trial_id")]


class StudyTables:
    """The rows of both tables in memory; `write` brings the files up to date.

    Rows are keyed by trial and by images seen, so a trial that restarts from a checkpoint
    replaces what it repeats.

    Parameters
    ----------
    run
        Where the tables and the checkpoints are.
    objectives
        Of the study; the first decides which report of a trial is its best.
    budget
        Of a trial.
    study
        Its name; by default that of the run directory, which may have been renamed since.
    """

    def __init__(
        self,
        run: RunDirectory,
        objectives: Sequence[Objective],
        *,
        budget: Budget,
        study: str | None = None,
    ) -> None:
        self.run = run
        self.study = study or run.path.name
        self.objectives = tuple(objectives)
        self.objective = self.objectives[0]
        self.budget = budget
        self.trials: dict[str, dict[str, Any]] = {}
        self.epochs: dict[str, dict[int, dict[str, Any]]] = {}
        self.changed = False
        """Whether the files lack something."""

    def load(self) -> None:
        """Read the tables of an earlier driver, if it has written any."""
        if self.run.trials_file.exists():
            rows = read_rows(self.run.trials_file, TRIALS)
            self.trials = {row["trial_id"]: _complete(row, self.budget) for row in rows}
        if self.run.epochs_file.exists():
            for row in read_rows(self.run.epochs_file, EPOCHS):
                row = _with_images(row, "epoch", self.budget)
                self.epochs.setdefault(row["trial_id"], {})[row["images"]] = row
        for trial_id in self.epochs.keys() & self.trials.keys():  # one may be older than the other
            self._summarise(trial_id)

    def write(self) -> None:
        """Write both tables now.

        Raises
        ------
        StorageError
            A file cannot be written.
        """
        epochs = [row for by_epoch in self.epochs.values() for _, row in sorted(by_epoch.items())]
        write_table(epochs, EPOCHS, self.run.epochs_file)
        write_table(list(self.trials.values()), TRIALS, self.run.trials_file)
        self.run.push()
        self.changed = False

    def open(
        self, trial_id: str, number: int, params: Mapping[str, Any], proposal: str | None = None
    ) -> dict[str, Any]:
        """Return the row of a trial, made if it is new; see `check_trial_id` for the error."""
        check_trial_id(trial_id)
        if trial_id not in self.trials:
            self.trials[trial_id] = dict.fromkeys(TRIALS.names) | {
                "study": self.study,
                "trial_id": trial_id,
                "number": number,
                "proposal": proposal,
                "status": TrialStatus.PENDING,
                "epochs": 0,
                "images": 0,
                "seed": params["seed"],
                "train_seconds": 0.0,
                **{CONFIG_PREFIX + name: value for name, value in _used_params(params).items()},
            }
            self.changed = True
            if trial_id in self.epochs:  # an earlier driver died between the two files
                self._summarise(trial_id)
        return self.trials[trial_id]

    def update(self, trial_id: str, **columns: Any) -> None:
        """Set columns of a trial."""
        self.trials[trial_id] |= columns
        self.changed = True

    def start(self, trial_id: str) -> None:
        """Mark a trial as running; its first start stays on record."""
        row = self.trials[trial_id]
        self.update(trial_id, status=TrialStatus.RUNNING, started_at=row["started_at"] or _now())

    def record_report(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Record what a trial reported; what it reports after as many images again replaces it."""
        row = self.trials[trial_id]
        self.update(trial_id, n_parameters=result.get("n_parameters", row["n_parameters"]))
        if "train_loss" not in result:  # the report of an end without any training
            return
        report = {"study": row["study"], "trial_id": trial_id}
        for name in _REPORTED:
            # NaN would be the largest value in DuckDB and the smallest elsewhere; null is neither.
            report[name] = result[name] if name in result and math.isfinite(result[name]) else None
        self.epochs.setdefault(trial_id, {})[result[TIME_ATTR]] = report
        self._summarise(trial_id)

    def end(self, trial_id: str, outcome: Outcome, cutoff: tuple[int, float] | None = None) -> None:
        """Record how a trial ended and keep the model of its best report.

        Of one that was stopped early, ``cutoff`` is the rung, in images, and what the objective had to reach.
        """
        if outcome.stop_reason == StopReason.RUNG and cutoff is not None:
            self.update(trial_id, rung=self.budget.epochs(cutoff[0]), cutoff=cutoff[1])
        self.update(trial_id, status=outcome.status, stop_reason=outcome.stop_reason, finished_at=_now())
        self.keep_checkpoint(trial_id)

    def reopen(self, trial_id: str, params: Mapping[str, Any]) -> None:
        """Mark a trial that is to be continued as not ended; its budget may have grown."""
        ended = ("stop_reason", "finished_at", "error", "rung", "cutoff", "pareto")
        self.update(trial_id, status=TrialStatus.PENDING, **dict.fromkeys(ended))
        budget = ("max_epochs", "schedule_epochs")
        self.update(trial_id, **{CONFIG_PREFIX + name: params[name] for name in budget})

    def keep_checkpoint(self, trial_id: str) -> None:
        """Keep the model of a trial's best report, if there is one and it can be written."""
        try:
            if keep_best(self.run, trial_id, self.trials[trial_id]["best_epoch"]):
                kept = self.run.checkpoint_dir(trial_id).relative_to(self.run.path)
                self.update(trial_id, checkpoint=kept.as_posix())
        except (OSError, StorageError) as error:
            logger.warning("cannot keep the checkpoint of %s: %s", trial_id, error)

    def finish(self, reason: str) -> None:
        """End the trials that have not ended, for ``reason``, and write both tables."""
        for trial_id, row in self.trials.items():
            if row["status"] in (TrialStatus.PENDING, TrialStatus.RUNNING):
                self.end(trial_id, Outcome.interrupted(reason))
        self._mark_pareto()
        self.write()

    def best(self) -> dict[str, Any] | None:
        """Return the best row so far: of those with the full budget, or as long as there is none, of all.

        Trials that have had no more than quick looks come last.
        """
        rows = self.trials.values()
        completed = [row for row in rows if row["status"] == TrialStatus.COMPLETED]
        seen = [row for row in rows if row["images"] >= self.budget.quick_until]
        return self.objective.best(completed or seen or rows)

    def _summarise(self, trial_id: str) -> None:
        """Fill in what follows from the trial's reports; the panel is that of the best one.

        Quick looks do not compare with the others: the best of them counts as long as there is nothing else.
        """
        reports = [report for _, report in sorted(self.epochs[trial_id].items())]
        best: dict[str, Any] = {}
        for report in [each for each in reports if not each.get("quick")] or reports:
            value = report[self.objective.name]
            if value is not None and self.objective.better(value, best.get(self.objective.name)):
                best = report
        self.update(
            trial_id,
            objective=best.get(self.objective.name),
            best_epoch=best.get("epoch"),
            epochs=reports[-1]["epoch"],
            images=reports[-1]["images"],
            train_seconds=sum(report["epoch_seconds"] or 0.0 for report in reports),
            **{name: best.get(name) for name in NEUTRAL_PANEL},
        )

    def _mark_pareto(self) -> None:
        """Mark the trials that no other beats in all objectives; only those with the full budget compare."""
        if len(self.objectives) < 2:
            return
        done: list[dict[str, Any]] = []
        values: list[list[float]] = []
        for trial_id, row in self.trials.items():
            row["pareto"] = False if row["status"] == TrialStatus.COMPLETED else None
            reports = self.epochs.get(trial_id, {}).values()
            best = next((each for each in reports if each["epoch"] == row["best_epoch"]), {})
            values_of = best | {name: row[column] for name, column in SIZES.items()}
            found = [value for o in self.objectives if (value := values_of.get(o.name)) is not None]
            if row["status"] == TrialStatus.COMPLETED and len(found) == len(self.objectives):
                done.append(row)
                values.append(found)
        for row, on_it in zip(done, pareto_front(values, self.objectives), strict=True):
            row["pareto"] = on_it


def _complete(row: dict[str, Any], budget: Budget) -> dict[str, Any]:
    """Return a row with the columns that a table of an older version lacks."""
    row = _with_images(dict.fromkeys(TRIALS.names) | row, "epochs", budget)
    # A schedule ended with the budget, before it had epochs of its own.
    row[_SCHEDULE_EPOCHS] = row[_SCHEDULE_EPOCHS] or [row[CONFIG_PREFIX + "max_epochs"]]
    return row


def _with_images(row: dict[str, Any], epochs: str, budget: Budget) -> dict[str, Any]:
    """Return a row with its images; an older version counted whole epochs."""
    if row.get("images") is not None:
        return row
    return row | {"images": round((row[epochs] or 0) * budget.n_train)}


def _used_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return every hyperparameter, null where another one switches it off."""
    used = Config.from_params(dict(params)).to_params()
    if used["reconstruction_loss"] != "ssim":
        used["ssim_window"] = None
    if used["schedule"] != "milestones":
        used["milestones"] = None
    return used


def _now() -> datetime:
    return datetime.now(UTC)
