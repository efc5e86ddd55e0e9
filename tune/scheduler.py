"""ASHA: at the end of each rung only the best ``1 / reduction_factor`` of the trials seen there goes on.

The rule is that of Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020
(https://arxiv.org/abs/1810.05934), in its stopping form: a trial is judged once, when it reaches a rung,
against all that have been there. In the paper's symbols ``grace_period`` is r, ``max_epochs`` R and
``reduction_factor`` eta. Ray's own scheduler lets NaN pass, ignores a missing time attribute.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune.objective import Objective
from vae.errors import UserError

logger = logging.getLogger(__name__)

TIME_ATTR = "epoch"
STOP_REASON = "stop_reason"


def rung_epochs(max_epochs: int, grace_period: int, reduction_factor: float) -> tuple[int, ...]:
    """Return the epochs at which trials are judged: ``grace_period * reduction_factor**k < max_epochs``.

    Raises
    ------
    UserError
        A value is out of range, or no rung lies below the full budget, so that nothing could ever be stopped.
    """
    if max_epochs < 2:
        raise UserError(
            f"max_epochs must be >= 2, got {max_epochs}: weak trials are stopped before the last epoch"
        )
    if grace_period < 1:
        raise UserError(f"grace_period must be >= 1, got {grace_period}")
    if not 1 < reduction_factor < math.inf:
        raise UserError(f"reduction_factor must be > 1, got {reduction_factor:g}")
    if grace_period >= max_epochs:
        raise UserError(
            f"grace_period must be < max_epochs, got {grace_period} and {max_epochs}: nothing can be stopped"
        )
    rungs: list[int] = []
    epoch = float(grace_period)
    while round(epoch) < max_epochs:  # multiplied step by step: logarithms miss rungs (27, 1, 3) by rounding
        if not rungs or round(epoch) > rungs[-1]:
            rungs.append(round(epoch))
        epoch *= reduction_factor
    return tuple(rungs)


@dataclass(slots=True)
class Rung:
    """What was reported at one epoch: a value per trial, larger is better."""

    epoch: int
    values: dict[str, float] = field(default_factory=dict)

    def cutoff(self, reduction_factor: float) -> float:
        """Return the worst of the best ``1 / reduction_factor`` values, of which there is always one."""
        goes_on = max(1, int(len(self.values) / reduction_factor))
        return sorted(self.values.values(), reverse=True)[goes_on - 1]


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a trial went on or was stopped at a rung; value and cutoff as the objective is reported."""

    rung: int
    value: float
    cutoff: float
    n_trials: int
    stopped: bool


class Asha(FIFOScheduler):
    """Stop trials that are not among the best of their rung, that have their full budget, or that say why."""

    def __init__(
        self, objective: Objective, *, max_epochs: int, grace_period: int, reduction_factor: float
    ) -> None:
        super().__init__()
        self.objective = objective
        self._metric = objective.name  # Tune checks that every result has it
        self.max_epochs = max_epochs
        self.reduction_factor = reduction_factor
        self.sign = 1.0 if objective.mode == "max" else -1.0
        self.rungs = {e: Rung(e) for e in rung_epochs(max_epochs, grace_period, reduction_factor)}
        self.decisions: dict[str, list[Decision]] = {}
        """Ray's trial id -> its decisions, in order."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        if TIME_ATTR not in result:
            raise ValueError(f"ASHA needs '{TIME_ATTR}' in every result, got {', '.join(sorted(result))}")
        epoch, value = result[TIME_ATTR], result.get(self.objective.name)
        if result.get(STOP_REASON) is not None or epoch >= self.max_epochs:
            return str(TrialScheduler.STOP)
        rung = self.rungs.get(epoch)
        # A trial that was restored comes back to epochs where it was judged before.
        if rung is None or trial.trial_id in rung.values:
            return str(TrialScheduler.CONTINUE)
        if value is None or not math.isfinite(value):
            raise ValueError(f"a trial whose {self._metric} is {value} must report a {STOP_REASON}")
        return str(self._judge(trial, rung, value))

    def _judge(self, trial: Trial, rung: Rung, value: float) -> str:
        rung.values[trial.trial_id] = self.sign * value
        cutoff = rung.cutoff(self.reduction_factor)
        decision = Decision(
            rung=rung.epoch,
            value=value,
            cutoff=self.sign * cutoff,
            n_trials=len(rung.values),
            stopped=self.sign * value < cutoff,
        )
        self.decisions.setdefault(trial.trial_id, []).append(decision)
        logger.log(
            logging.INFO if decision.stopped else logging.DEBUG,
            "%s %s at epoch %d: %s %.4g, cutoff %.4g of %d trials",
            trial,
            "stopped" if decision.stopped else "goes on",
            decision.rung,
            self._metric,
            decision.value,
            decision.cutoff,
            decision.n_trials,
        )
        return str(TrialScheduler.STOP if decision.stopped else TrialScheduler.CONTINUE)

    def debug_string(self) -> str:
        return f"ASHA: {sum(d[-1].stopped for d in self.decisions.values())} trials stopped"
