"""Tune's scheduler: ends a trial at its full budget, when it says why, or when a stopping rule says so.

Ray's own schedulers let NaN pass, ignore a missing time attribute and forget their rungs over a restore.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune.algorithms.objective import Objective
from tune.algorithms.stopping_rules import Decision, StoppingRule
from tune.storage.trial_status import STOP_REASON, TIME_ATTR

logger = logging.getLogger(__name__)


class Failures(Protocol):
    """What the scheduler needs of `tune.callbacks.failures.FailureTracker`."""

    def record(self, trial: Trial) -> None:
        """Count the failure of a trial."""

    def unschedulable(self) -> Iterable[Trial]:
        """Return the waiting trials that are to be ended."""


class EarlyStopping(FIFOScheduler):
    """Applies a stopping rule to Tune's trials.

    Parameters
    ----------
    rule
        Which trials are stopped early; None: none.
    objective
        What it judges by.
    budget
        The full one of a trial, in images.
    failures
        Of all that Tune calls, its scheduler alone learns of a failure before the trial is queued again.
    """

    def __init__(
        self,
        rule: StoppingRule | None,
        objective: Objective,
        *,
        budget: int,
        failures: Failures | None = None,
    ) -> None:
        super().__init__()
        self.rule = rule
        self.objective = objective
        self._metric = objective.name  # Tune checks that every result has it
        self.budget = budget
        self.decisions: dict[str, list[Decision]] = {}
        """Trial id -> its decisions, in order; larger values are better."""
        self._failures = failures

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        if self._failures is not None:
            self._failures.record(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        for trial in self._failures.unschedulable() if self._failures else ():
            tune_controller.stop_trial(trial)
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        if TIME_ATTR not in result:
            raise ValueError(f"every result needs '{TIME_ATTR}', got {', '.join(sorted(result))}")
        images, value = result[TIME_ATTR], result.get(self.objective.name)
        has_ended = result.get(STOP_REASON) is not None or images >= self.budget
        stopped = False
        if value is not None and math.isfinite(value):
            if images < self.budget:  # also one that collapses here: it has reached the rung
                stopped = self.judge(trial.config["trial_id"], trial.config["number"], images, value)
        elif result.get(STOP_REASON) is None:
            raise ValueError(f"a trial whose {self._metric} is {value} must report a {STOP_REASON}")
        return str(TrialScheduler.STOP if stopped or has_ended else TrialScheduler.CONTINUE)

    def judge(self, trial_id: str, number: int, images: int, value: float) -> bool:
        """Return whether a trial is stopped after so many images; the decision is kept and logged."""
        sign = self.objective.sign
        decision = self.rule.judge(trial_id, number, images, sign * value) if self.rule else None
        if decision is None:
            return False
        self.decisions.setdefault(trial_id, []).append(decision)
        logger.log(
            logging.INFO if decision.stopped else logging.DEBUG,
            "%s %s after %d images: %s %.4g, cutoff %.4g of %d trials",
            trial_id,
            "stopped" if decision.stopped else "continues",
            decision.rung,
            self._metric,
            sign * decision.value,
            sign * decision.cutoff,
            decision.n_trials,
        )
        return decision.stopped

    def cutoff_of(self, trial_id: str) -> tuple[int, float] | None:
        """Return the rung of a trial's last decision and the objective that it had to reach there."""
        decisions = self.decisions.get(trial_id)
        return (decisions[-1].rung, self.objective.sign * decisions[-1].cutoff) if decisions else None

    def debug_string(self) -> str:
        return f"{sum(d[-1].stopped for d in self.decisions.values())} trials stopped early"
