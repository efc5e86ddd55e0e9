"""A Tune callback that exports the search to Prometheus, through Ray; `grafana_dashboard.json` shows it.

Ray puts `ray_` before each name and `_total` after a counter. It forgets a gauge that is not set again within
some 20 seconds: a trial leaves the endpoint soon after its end, and Prometheus keeps its history.
"""

import time
from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial
from ray.util.metrics import Counter, Gauge

from tune.callbacks.driver_callback import DriverCallback
from tune.storage.trial_status import TIME_ATTR, TrialStatus
from tune.study.study_tables import StudyTables

STATUSES = (
    TrialStatus.PENDING,
    TrialStatus.RUNNING,
    TrialStatus.COMPLETED,
    TrialStatus.STOPPED_EARLY,
    TrialStatus.FAILED,
)


class PrometheusCallback(DriverCallback):
    """Exports the tables' rows and what the trials report; a label for each study and each trial.

    It reads a report's row when the trial reports it, so it comes after the recorder.
    """

    every_s = 5.0

    def __init__(self, tables: StudyTables, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self.tables = tables
        self.study = tables.study
        of_study, of_trial = ("study",), ("study", "trial")
        self.trials = Gauge("vae_trials", "Trials by status", (*of_study, "status"))
        self.best = Gauge("vae_best_objective", "Best objective so far", (*of_study, "objective"))
        self.objective = Gauge("vae_trial_objective", "Objective at a trial's latest report", of_trial)
        self.trial_best = Gauge("vae_trial_best_objective", "A trial's best objective so far", of_trial)
        self.epoch = Gauge("vae_trial_epoch", "Epochs that a trial has trained", of_trial)
        self.speed = Gauge("vae_trial_images_per_second", "Training images per second of a trial", of_trial)
        self.images = Counter("vae_images", "Images seen in training", of_study)
        self._seen: dict[str, int] = {}
        self.checkpoint_bytes = Counter("vae_checkpoint_bytes", "Bytes of checkpoints written", of_trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        trial_id = trial.config["trial_id"]
        if "train_loss" not in result:  # the report of an end without any training
            return
        images = result[TIME_ATTR]
        if images > self._seen.get(trial_id, 0):  # not what a trial that has lost its worker repeats
            self._seen[trial_id] = images
            before = max((at for at in self.tables.epochs[trial_id] if at < images), default=0)
            self.images.inc(images - before, {"study": self.study})
        if result.get("checkpoint_bytes"):
            self.checkpoint_bytes.inc(result["checkpoint_bytes"], {"study": self.study, "trial": trial_id})
        self._set_trial(trial_id, result[TIME_ATTR])

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        self.update()  # for as long as the cluster stays, for the evaluation

    def update(self) -> None:
        """Set the gauges of the study and of the trials that run."""
        counts = dict.fromkeys(STATUSES, 0)
        for row in self.tables.trials.values():
            counts[row["status"]] += 1
            if row["status"] == TrialStatus.RUNNING and row["images"]:
                self._set_trial(row["trial_id"], row["images"])
        for status, count in counts.items():
            self.trials.set(count, {"study": self.study, "status": status})
        best = self.tables.best()
        if best is not None:
            self.best.set(best["objective"], {"study": self.study, "objective": self.tables.objective.name})

    def _set_trial(self, trial_id: str, images: int) -> None:
        tags = {"study": self.study, "trial": trial_id}
        values = self.tables.epochs[trial_id][images]
        self.epoch.set(values["epoch"], tags)
        for gauge, value in (
            (self.objective, values[self.tables.objective.name]),
            (self.trial_best, self.tables.trials[trial_id]["objective"]),
            (self.speed, values["images_per_second"]),
        ):
            if value is not None:
                gauge.set(value, tags)
