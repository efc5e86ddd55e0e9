"""A Tune callback that exports the search to Prometheus, through Ray; `grafana_dashboard.json` shows it.

Ray puts `ray_` before each name and `_total` after a counter. It forgets a gauge that is not set again within
some 20 seconds: a trial leaves the endpoint soon after its end, and Prometheus keeps its history.
"""

import math
import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.util.metrics import Counter, Gauge

from tune.callbacks.recorder import Recorder
from tune.storage.trial_status import COMPLETED, FAILED, PENDING, RUNNING, STOPPED_EARLY, TIME_ATTR

SET_EVERY_S = 5.0
STATUSES = (PENDING, RUNNING, COMPLETED, STOPPED_EARLY, FAILED)


class PrometheusCallback(Callback):
    """Exports what the recorder knows and what the trials report; a label for each study and each trial."""

    def __init__(self, recorder: Recorder, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.recorder = recorder
        self.study = recorder.run.path.name
        self._clock = clock
        self._set_at = -math.inf
        of_study, of_trial = ("study",), ("study", "trial")
        self.trials = Gauge("vae_trials", "Trials by status", (*of_study, "status"))
        self.best = Gauge("vae_best_objective", "Best objective so far", (*of_study, "objective"))
        self.objective = Gauge("vae_trial_objective", "Objective at a trial's latest epoch", of_trial)
        self.trial_best = Gauge("vae_trial_best_objective", "A trial's best objective so far", of_trial)
        self.epoch = Gauge("vae_trial_epoch", "Epochs that a trial has trained", of_trial)
        self.speed = Gauge("vae_trial_images_per_second", "Training images per second of a trial", of_trial)
        self.epochs = Counter("vae_epochs", "Epochs trained", of_study)
        self.checkpoint_bytes = Counter("vae_checkpoint_bytes", "Bytes of checkpoints written", of_trial)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks with the experiment; nothing reads that

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        trial_id = trial.config["trial_id"]
        if "train_loss" not in result:  # the report of an end without an epoch
            return
        self.epochs.inc(1, {"study": self.study})
        if result.get("checkpoint_bytes"):
            self.checkpoint_bytes.inc(result["checkpoint_bytes"], {"study": self.study, "trial": trial_id})
        self._set_trial(trial_id, result[TIME_ATTR])

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self._clock() - self._set_at >= SET_EVERY_S:
            self._set_study()

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        self._set_study()  # for as long as the cluster stays, for the evaluation

    def _set_study(self) -> None:
        self._set_at = self._clock()
        counts = dict.fromkeys(STATUSES, 0)
        for row in self.recorder.trials.values():
            counts[row["status"]] += 1
            if row["status"] == RUNNING and row["epochs"]:
                self._set_trial(row["trial_id"], row["epochs"])
        for status, count in counts.items():
            self.trials.set(count, {"study": self.study, "status": status})
        best = self.recorder.best()
        if best is not None:
            self.best.set(best["objective"], {"study": self.study, "objective": self.recorder.objective.name})

    def _set_trial(self, trial_id: str, epoch: int) -> None:
        tags = {"study": self.study, "trial": trial_id}
        values = self.recorder.epochs[trial_id][epoch]
        self.epoch.set(epoch, tags)
        for gauge, value in (
            (self.objective, values[self.recorder.objective.name]),
            (self.trial_best, self.recorder.trials[trial_id]["objective"]),
            (self.speed, values["images_per_second"]),
        ):
            if value is not None:
                gauge.set(value, tags)
