"""A Tune callback that keeps `trials.parquet`, `epochs.parquet` and `checkpoints/` true to the search."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from tune.algorithms.objective import Objective, pareto_front
from tune.algorithms.outcome import Outcome, cut_short, ended, failed
from tune.callbacks.failures import MAX_FAILURES, FailureTracker
from tune.cluster.shared_storage import NotShared
from tune.storage.run_directory import RunDirectory, check_trial_id
from tune.storage.tables import CONFIG_PREFIX, EPOCHS, NEUTRAL_PANEL, TRIALS, read_table, write_table
from tune.storage.trial_status import COMPLETED, INTERRUPTED, PENDING, RUNG, RUNNING, TIME_ATTR
from tune.trials.checkpoints import CheckpointUnreachable, keep_best
from tune.trials.errors import cause_of, forget_pickle, raised
from vae.config import Config
from vae.errors import Error, StorageError

logger = logging.getLogger(__name__)

WRITE_EVERY_S = 3.0
WRITING_SHARE = 0.05
"""Of the driver's time at most: the tables of a thousand trials take a while."""
_EPOCH_METRICS = [name for name in EPOCHS.names if name not in ("study", "trial_id", "epoch")]


class Recorder(Callback):
    """Holds the rows of both tables, writes them every few seconds and at the end.

    Rows are keyed by trial and by epoch, so a trial that restarts from a checkpoint replaces what it repeats.
    """

    def __init__(
        self,
        run: RunDirectory,
        objectives: Sequence[Objective],
        *,
        max_epochs: int,
        failures: FailureTracker | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run = run
        self.failures = failures or FailureTracker()
        self.objectives = tuple(objectives)
        self.objective = self.objectives[0]
        self.max_epochs = max_epochs
        self.settle: Callable[[str, Outcome], None] = lambda ray_trial_id, outcome: None
        """Called with Ray's trial id at the end of a trial: an error is known here first."""
        self.cutoff_of: Callable[[str], tuple[int, float] | None] = lambda trial_id: None
        """What the scheduler knows: the rung of a trial's last decision, and the cutoff there."""
        self.failure: Error | None = None
        """Why the search could not go on; of what a callback raises, Tune keeps no more than a traceback."""
        self.trials: dict[str, dict[str, Any]] = {}
        self.epochs: dict[str, dict[int, dict[str, Any]]] = {}
        self._running: dict[str, Trial] = {}  # those of Ray that have not ended
        self._known = 0
        self._clock = clock
        self._written_at = -math.inf
        self._write_seconds = 0.0
        self._changed = self._urgent = False
        self._complaint = ""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks with the experiment; nothing reads that.
        return {"run": self.run}

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if len(trials) != self._known:
            self._known = len(trials)
            for trial in trials:
                self._row(trial)
        pause = max(0.0 if self._urgent else WRITE_EVERY_S, self._write_seconds / WRITING_SHARE)
        if self._changed and self._clock() - self._written_at >= pause:
            try:
                self.write()
            except StorageError as error:  # a full disk may be freed before the end, where it counts
                self._written_at = self._clock()
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    logger.warning("%s", error)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        row = self._row(trial)
        self._change(row, status=RUNNING, started_at=row["started_at"] or _now())
        try:
            self.run.push()  # what was proposed must be known there before a checkpoint of it is
        except StorageError as error:
            self.failure = error
            raise

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        row = self._row(trial)
        self._change(row, node=result.get("hostname"))
        self.record_epoch(row["trial_id"], result)

    def record_epoch(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Take in what a trial reported after an epoch; the same epoch again replaces it."""
        row = self.trials[trial_id]
        self._change(row, n_parameters=result.get("n_parameters", row["n_parameters"]))
        if "train_loss" not in result:  # the report of an end without an epoch
            return
        epoch = {"study": row["study"], "trial_id": trial_id, "epoch": result[TIME_ATTR]}
        for name in _EPOCH_METRICS:
            # NaN would be the largest value in DuckDB and the smallest elsewhere; null is neither.
            epoch[name] = result[name] if name in result and math.isfinite(result[name]) else None
        self.epochs.setdefault(trial_id, {})[result[TIME_ATTR]] = epoch
        self._summarise(row)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        forget_pickle(trial)
        self._change(self._row(trial), status=PENDING)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        if self.failures.is_unschedulable(trial.config["trial_id"]):
            self._end(trial, cut_short(INTERRUPTED))
            return
        self._end(trial, ended(trial.last_result, self.max_epochs))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        row = self._row(trial)
        trial_id, error = row["trial_id"], cause_of(raised(trial))
        forget_pickle(trial)
        if isinstance(error, NotShared):
            self.failure = error
            raise error
        # Tune retries a trial whose worker dies, but not before it has begun, in a worker that is reused.
        early = trial.run_metadata.num_failures <= trial.max_failures
        if early and self.failures.count(trial_id) <= MAX_FAILURES:
            logger.warning("%s lost its worker before it began; it goes on later", trial_id)
            self._end(trial, cut_short(INTERRUPTED))
            return
        if isinstance(error, CheckpointUnreachable):
            logger.warning("%s: %s; it goes on later", trial_id, error)
            self.failures.forget(trial_id)
            self._end(trial, cut_short(INTERRUPTED))
            return
        self._change(
            row,
            error=self.failures.failure_message(trial_id),
            node=self.failures.host(trial_id) or row["node"],
        )
        logger.warning("%s failed: %s", trial_id, row["error"])
        self._end(trial, failed(error))

    def load(self) -> None:
        """Take up the tables that an earlier driver has written; it may have died before it wrote them."""
        if self.run.trials_file.exists():
            rows = read_table(self.run.trials_file).to_pylist()
            self.trials = {row["trial_id"]: dict.fromkeys(TRIALS.names) | row for row in rows}
        if self.run.epochs_file.exists():
            for row in read_table(self.run.epochs_file).to_pylist():
                self.epochs.setdefault(row["trial_id"], {})[row["epoch"]] = row
        for trial_id in self.epochs.keys() & self.trials.keys():  # one may be older than the other
            self._summarise(self.trials[trial_id])

    def reopen(self, trial_id: str, max_epochs: int) -> None:
        """Mark a trial that goes on as not ended."""
        ended = ("stop_reason", "finished_at", "error", "rung", "cutoff", "pareto")
        self._change(self.trials[trial_id], status=PENDING, **dict.fromkeys(ended))
        self._change(self.trials[trial_id], **{CONFIG_PREFIX + "max_epochs": max_epochs})

    def finish(self, reason: str) -> None:
        """Settle the trials that have not ended, for ``reason``, and write both tables."""
        for trial in list(self._running.values()):
            self._end(trial, cut_short(reason))
        for row in self.trials.values():  # taken up from an earlier driver, but not yet started
            if row["status"] in (PENDING, RUNNING):
                self.end(row["trial_id"], cut_short(reason))
        self._mark_pareto()
        self.write()

    def write(self) -> None:
        """Write both tables now."""
        begun = self._clock()
        epochs = [row for by_epoch in self.epochs.values() for _, row in sorted(by_epoch.items())]
        write_table(epochs, EPOCHS, self.run.epochs_file)
        write_table(list(self.trials.values()), TRIALS, self.run.trials_file)
        self.run.push()
        self._written_at = self._clock()
        self._write_seconds = self._written_at - begun
        self._changed = self._urgent = False

    def best(self) -> dict[str, Any] | None:
        """Return the row with the best objective so far, whatever its status."""
        return self.objective.best(self.trials.values())

    def _row(self, trial: Trial) -> dict[str, Any]:
        trial_id = trial.config["trial_id"]
        row = self.open(trial_id, trial.config["number"], trial.config["params"])
        if row["status"] in (PENDING, RUNNING):
            self._running[trial_id] = trial
        return row

    def open(self, trial_id: str, number: int, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row of a trial, made if it is new; see `check_trial_id` for the error."""
        check_trial_id(trial_id)
        if trial_id not in self.trials:
            self.trials[trial_id] = dict.fromkeys(TRIALS.names) | {
                "study": self.run.path.name,
                "trial_id": trial_id,
                "number": number,
                "status": PENDING,
                "epochs": 0,
                "seed": params["seed"],
                "train_seconds": 0.0,
                **{CONFIG_PREFIX + name: value for name, value in _used_params(params).items()},
            }
            self._changed = True
        return self.trials[trial_id]

    def _change(self, row: dict[str, Any], **columns: Any) -> None:
        row |= columns
        self._changed = True

    def _summarise(self, row: dict[str, Any]) -> None:
        """Fill in what follows from the trial's epochs; the panel is that of the best one."""
        epochs = [epoch for _, epoch in sorted(self.epochs[row["trial_id"]].items())]
        best: dict[str, Any] = {}
        for epoch in epochs:
            value = epoch[self.objective.name]
            if value is not None and self.objective.better(value, best.get(self.objective.name)):
                best = epoch
        self._change(
            row,
            objective=best.get(self.objective.name),
            best_epoch=best.get("epoch"),
            epochs=epochs[-1]["epoch"],
            train_seconds=sum(epoch["epoch_seconds"] or 0.0 for epoch in epochs),
            **{name: best.get(name) for name in NEUTRAL_PANEL},
        )

    def _end(self, trial: Trial, outcome: Outcome) -> None:
        row = self._row(trial)
        self._running.pop(row["trial_id"], None)
        if outcome.stop_reason == RUNG and (cutoff := self.cutoff_of(row["trial_id"])):
            self._change(row, rung=cutoff[0], cutoff=cutoff[1])
        self.end(row["trial_id"], outcome)
        if not outcome.goes_on:
            self.settle(trial.trial_id, outcome)
        self._urgent = True  # an end is worth a write at once

    def end(self, trial_id: str, outcome: Outcome) -> None:
        """Record how a trial ended and keep the model of its best epoch."""
        row = self.trials[trial_id]
        self._change(row, status=outcome.status, stop_reason=outcome.stop_reason, finished_at=_now())
        self.keep(trial_id)

    def keep(self, trial_id: str) -> None:
        """Keep the model of a trial's best epoch, if there is one and it can be written."""
        row = self.trials[trial_id]
        try:
            if keep_best(self.run, trial_id, row["best_epoch"]):
                kept = self.run.checkpoint_dir(trial_id).relative_to(self.run.path)
                self._change(row, checkpoint=kept.as_posix())
        except (OSError, StorageError) as error:
            logger.warning("cannot keep the checkpoint of %s: %s", trial_id, error)

    def _mark_pareto(self) -> None:
        """Mark the trials that no other beats in all objectives; only those with the full budget compare."""
        if len(self.objectives) < 2:
            return
        names = [objective.name for objective in self.objectives]
        done = []
        for row in self.trials.values():
            compares = row["status"] == COMPLETED and all(row[name] is not None for name in names)
            self._change(row, pareto=False if row["status"] == COMPLETED else None)
            if compares:
                done.append(row)
        front = pareto_front([[row[name] for name in names] for row in done], self.objectives)
        for row, on_it in zip(done, front, strict=True):
            row["pareto"] = on_it


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
