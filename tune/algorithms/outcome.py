"""How a trial ended, in the words of the `trials` table and of Optuna."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import optuna

from tune.storage.trial_status import STOP_REASON, TIME_ATTR, StopReason, TrialStatus
from vae.errors import is_out_of_memory


@dataclass(frozen=True, slots=True)
class Outcome:
    """A final status and its reason (None: the full budget was trained)."""

    status: TrialStatus
    stop_reason: str | None = None

    @classmethod
    def from_result(cls, last_result: Mapping[str, Any], budget: int) -> Self:
        """Return the outcome of a trial that ended without an exception; ``budget`` is in images."""
        reason = last_result.get(STOP_REASON)
        if reason is not None:
            return cls(TrialStatus.FAILED, reason)
        if last_result.get(TIME_ATTR, 0) >= budget:
            return cls(TrialStatus.COMPLETED)
        return cls(TrialStatus.STOPPED_EARLY, StopReason.RUNG)

    @classmethod
    def from_error(cls, error: Exception | None) -> Self:
        """Return the outcome of a trial that raised, or whose worker Ray killed to save the node's memory."""
        out_of_memory = is_out_of_memory(error) or "low on memory" in str(error)
        return cls(TrialStatus.FAILED, StopReason.OUT_OF_MEMORY if out_of_memory else StopReason.ERROR)

    @classmethod
    def interrupted(cls, reason: str) -> Self:
        """Return the outcome of a trial that the end of the search cut short: interrupted or time_budget."""
        return cls(TrialStatus.STOPPED_EARLY, reason)

    @property
    def resumable(self) -> bool:
        """Whether the trial itself had not ended: it can be continued."""
        return self.stop_reason in (StopReason.INTERRUPTED, StopReason.TIME_BUDGET)

    @property
    def optuna_state(self) -> optuna.trial.TrialState:
        """COMPLETE only at the full budget, PRUNED where the configuration is at fault, else FAIL.

        Samplers do not see what is FAIL: they would be drawn to where every trial collapses or diverges.
        """
        if self.status == TrialStatus.COMPLETED:
            return optuna.trial.TrialState.COMPLETE
        if self.stop_reason in (StopReason.RUNG, StopReason.COLLAPSED, StopReason.NAN):
            return optuna.trial.TrialState.PRUNED
        return optuna.trial.TrialState.FAIL
