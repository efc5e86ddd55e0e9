"""The status of a trial in the `trials` table, why it ended, and how a reader is shown both."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

TIME_ATTR = "images"
STOP_REASON = "stop_reason"


class TrialStatus(StrEnum):
    """The column ``status``."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED_EARLY = "stopped_early"
    FAILED = "failed"


class StopReason(StrEnum):
    """The column ``stop_reason`` of a trial that failed, was stopped early or was interrupted."""

    NAN = "nan"
    COLLAPSED = "collapsed"
    OUT_OF_MEMORY = "oom"
    ERROR = "error"
    RUNG = "rung"
    INTERRUPTED = "interrupted"
    TIME_BUDGET = "time_budget"


class ProposedBy(StrEnum):
    """The column ``proposal``: where a configuration came from."""

    START = "start"
    """It is a starting point of the space."""
    WARM_START = "warm_start"
    """It was one of the best of another study."""
    RANDOM = "random"
    """It was drawn at random: samplers do so as long as they have nothing to go by."""
    SAMPLER = "sampler"
    """The sampler chose it by what it had seen."""


_REASONS = {
    StopReason.OUT_OF_MEMORY: "out of memory",
    StopReason.NAN: "NaN loss",
    StopReason.COLLAPSED: "posterior collapse",
}


class TrialCategory(StrEnum):
    """How a trial ended, or that it has not; what a figure draws alike."""

    COMPLETED = "completed"
    STOPPED = "stopped at a rung"
    FAILED = "failed"
    CUT_SHORT = "cut short"
    OPEN = "open"


def category(trial: Mapping[str, Any]) -> TrialCategory:
    """Return how the trial of a row of `trials` ended."""
    match trial["status"], trial["stop_reason"]:
        case "completed", _:
            return TrialCategory.COMPLETED
        case "failed", _:
            return TrialCategory.FAILED
        case "stopped_early", "rung":
            return TrialCategory.STOPPED
        case "stopped_early", _:
            return TrialCategory.CUT_SHORT
    return TrialCategory.OPEN


def category_text(trial: Mapping[str, Any]) -> str:
    """Return the same with the reason, such as ``failed: NaN loss``."""
    kind, reason = category(trial), trial["stop_reason"]
    if kind is TrialCategory.FAILED and reason:
        return f"failed: {_REASONS.get(reason, reason)}"
    if kind is TrialCategory.CUT_SHORT:
        return "cut short: time budget spent" if reason == "time_budget" else "interrupted"
    return str(trial["status"]) if kind is TrialCategory.OPEN else str(kind)
