"""A Tune callback that keeps the tables of a study true to what Tune's trials do."""

import logging
import time
from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial

from tune.algorithms.outcome import Outcome
from tune.callbacks.driver_callback import DriverCallback
from tune.callbacks.failures import MAX_FAILURES, FailureTracker
from tune.cluster.shared_storage import NotShared
from tune.storage.mirror import LeaseLost
from tune.storage.trial_status import StopReason, TrialStatus
from tune.study.study_tables import StudyTables
from tune.trials.checkpoints import CheckpointUnreachable
from tune.trials.errors import cause_of, forget_pickle, raised
from vae.errors import Error, StorageError

logger = logging.getLogger(__name__)

WRITE_EVERY_S = 3.0
WRITING_SHARE = 0.05
"""Of the driver's time at most: the tables of a thousand trials take a while."""


class Recorder(DriverCallback):
    """Records each start, report and end of a trial, and writes the tables every few seconds.

    Parameters
    ----------
    tables
        The rows.
    failures
        What is known of the trials' failures.
    tell
        `OptunaSearcher.tell`: called with Ray's trial id and the outcome of each trial that has ended.
    cutoff_of
        The rung of a trial's last decision and the cutoff there: `EarlyStopping.cutoff_of`.
    """

    def __init__(
        self,
        tables: StudyTables,
        failures: FailureTracker,
        *,
        tell: Callable[[str, Outcome], None],
        cutoff_of: Callable[[str], tuple[int, float] | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock=clock)
        self.tables = tables
        self.failures = failures
        self.error: Error | None = None
        """Why the search cannot continue; of what a callback raises, Tune keeps no more than a traceback."""
        self._tell = tell
        self._cutoff_of = cutoff_of
        self._n_known = 0
        self._write_seconds = 0.0
        self._urgent = False
        self._last_warning = ""

    @property
    def every_s(self) -> float:
        return max(0.0 if self._urgent else WRITE_EVERY_S, self._write_seconds / WRITING_SHARE)

    def update(self) -> None:
        if not self.tables.changed:
            return
        begun = self._clock()
        try:
            self.tables.write()
        except LeaseLost as error:
            self.error = error
            raise
        except StorageError as error:  # a full disk may be freed before the end, where it counts
            if str(error) != self._last_warning:
                self._last_warning = str(error)
                logger.warning("%s", error)
        else:
            self._write_seconds, self._urgent = self._clock() - begun, False
        self._updated_at = self._clock()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if len(trials) != self._n_known:
            self._n_known = len(trials)
            for trial in trials:
                self._open(trial)
        super().on_step_end(iteration, trials, **info)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.tables.start(self._open(trial))
        try:
            self.tables.run.push()  # what was proposed must be known there before a checkpoint of it is
        except StorageError as error:
            self.error = error
            raise

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        trial_id = self._open(trial)
        self.tables.update(trial_id, node=result.get("hostname"))
        self.tables.record_report(trial_id, result)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        forget_pickle(trial)
        self.tables.update(self._open(trial), status=TrialStatus.PENDING)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        if self.failures.is_unschedulable(trial.config["trial_id"]):
            self._end(trial, Outcome.interrupted(StopReason.INTERRUPTED))
            return
        self._end(trial, Outcome.from_result(trial.last_result, self.tables.budget.images))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        trial_id, error = self._open(trial), cause_of(raised(trial))
        forget_pickle(trial)
        if isinstance(error, NotShared):
            self.error = error
            raise error
        # Tune retries a trial whose worker dies, but not before it has begun, in a worker that is reused.
        early = trial.run_metadata.num_failures <= trial.max_failures
        if early and self.failures.count(trial_id) <= MAX_FAILURES:
            logger.warning("%s lost its worker before it began; it is continued later", trial_id)
            self._end(trial, Outcome.interrupted(StopReason.INTERRUPTED))
            return
        if isinstance(error, CheckpointUnreachable):
            logger.warning("%s: %s; it is continued later", trial_id, error)
            self.failures.forget(trial_id)
            self._end(trial, Outcome.interrupted(StopReason.INTERRUPTED))
            return
        message = self.failures.failure_message(trial_id)
        node = self.failures.host(trial_id) or self.tables.trials[trial_id]["node"]
        self.tables.update(trial_id, error=message, node=node)
        logger.warning("%s failed: %s", trial_id, message)
        self._end(trial, Outcome.from_error(error))

    def _open(self, trial: Trial) -> str:
        """Make sure that a trial has its row; return its id."""
        trial_id: str = trial.config["trial_id"]
        config = trial.config
        self.tables.open(trial_id, config["number"], config["params"], config.get("proposal"))
        return trial_id

    def _end(self, trial: Trial, outcome: Outcome) -> None:
        trial_id = self._open(trial)
        self.tables.end(trial_id, outcome, self._cutoff_of(trial_id))
        if not outcome.resumable:
            self._tell(trial.trial_id, outcome)
        self._urgent = True  # an end is worth a write at once
