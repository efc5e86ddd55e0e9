"""Tune's scheduler: ends a trial at its full budget, when it says why, or when a stopping rule says so.

Ray's own schedulers let NaN pass, ignore a missing time attribute and forget their rungs over a restore.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune.algorithms.objective import Objective
from tune.algorithms.stopping_rules import Decision, StoppingRule
from tune.storage.trial_status import STOP_REASON, TIME_ATTR

logger = logging.getLogger(__name__)


class EarlyStopping(FIFOScheduler):
    """Carries a stopping rule into Tune; ``rule`` None stops no trial before its full budget.

    Of all that Tune calls, its scheduler alone hears of a failed trial before that is queued again.
    """

    def __init__(self, rule: StoppingRule | None, objective: Objective, *, max_epochs: int) -> None:
        super().__init__()
        self.rule = rule
        self.objective = objective
        self._metric = objective.name  # Tune checks that every result has it
        self.max_epochs = max_epochs
        self.decisions: dict[str, list[Decision]] = {}
        """Trial id -> its decisions, in order; larger values are better."""
        self.on_failure: Callable[[Trial], None] = lambda trial: None
        self.given_up: Callable[[], Iterable[Trial]] = tuple
        """Which trials that wait are to be ended."""

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self.on_failure(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        for trial in self.given_up():
            tune_controller.stop_trial(trial)
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        if TIME_ATTR not in result:
            raise ValueError(f"every result needs '{TIME_ATTR}', got {', '.join(sorted(result))}")
        epoch, value = result[TIME_ATTR], result.get(self.objective.name)
        if result.get(STOP_REASON) is not None or epoch >= self.max_epochs:
            return str(TrialScheduler.STOP)
        if value is None or not math.isfinite(value):
            raise ValueError(f"a trial whose {self._metric} is {value} must report a {STOP_REASON}")
        stopped = self.judge(trial.config["trial_id"], trial.config["number"], epoch, value)
        return str(TrialScheduler.STOP if stopped else TrialScheduler.CONTINUE)

    def judge(self, trial_id: str, number: int, epoch: int, value: float) -> bool:
        """Return whether a trial is stopped at this epoch; the decision is kept and logged."""
        sign = self.objective.sign
        decision = self.rule.judge(trial_id, number, epoch, sign * value) if self.rule else None
        if decision is None:
            return False
        self.decisions.setdefault(trial_id, []).append(decision)
        logger.log(
            logging.INFO if decision.stopped else logging.DEBUG,
            "%s %s at epoch %d: %s %.4g, cutoff %.4g of %d trials",
            trial_id,
            "stopped" if decision.stopped else "goes on",
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
