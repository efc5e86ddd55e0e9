"""When a search ends before its last trial: all was tried, the target is reached, or nothing better comes."""

from collections.abc import Hashable, Set
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from tune.algorithms import journal
from tune.algorithms.objective import Objective
from tune.space.configurations import all_tried
from tune.space.domains import Space


class EndKind(StrEnum):
    """Why nothing more is proposed."""

    ALL_TRIED = "all_tried"
    TARGET = "target"
    PLATEAU = "plateau"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a search proposes no more; ``reason`` is what a person reads."""

    kind: EndKind
    reason: str


class EndingPlan(Protocol):
    """What decides, of `tune.study.plan.Plan`."""

    @property
    def space(self) -> Space: ...
    @property
    def patience(self) -> int | None: ...
    @property
    def target(self) -> float | None: ...


def find_ending(
    study: optuna.Study,
    plan: EndingPlan,
    objective: Objective,
    tried: Set[Hashable],
    *,
    since: datetime | None = None,
) -> Ending | None:
    """Return why nothing more is to be proposed; None: the search continues.

    It is a function of the study alone, so that a resumed search ends where an unbroken one would have.

    Parameters
    ----------
    study
        What was tried, and how it ended.
    plan
        Space, patience and target.
    objective
        The first of the study.
    tried
        Of each configuration that was proposed its `tune.space.configurations.identity`.
    since
        Trials that ended before do not count against the patience: when the study was extended.
    """
    if (n := all_tried(plan.space, tried)) is not None:
        return Ending(EndKind.ALL_TRIED, f"all {n} configurations were tried")
    ended = [trial for trial in journal.proposed_trials(study) if trial.state.is_finished()]
    if plan.target is not None:
        for trial in ended:
            value = _value(trial)
            if value is not None and objective.reaches(value, plan.target):
                name = trial.user_attrs[journal.TRIAL_ID]
                return Ending(
                    EndKind.TARGET, f"{name} reached the target {plan.target:g}: {objective.name} {value:.4f}"
                )
    if plan.patience is not None:
        n = n_without_better(ended, objective, since)
        if n >= plan.patience:
            return Ending(EndKind.PLATEAU, f"{n} trials in a row brought no better {objective.name}")
    return None


def n_without_better(ended: list[FrozenTrial], objective: Objective, since: datetime | None = None) -> int:
    """Return how many trials have ended since the best value of a fully trained one improved.

    Those that were stopped early, collapsed or diverged count. Those that failed with an error or ran out of
    memory do not, since nobody knows how good they are, and none counts before one has been fully trained.
    """
    best, n = None, 0
    for trial in sorted(ended, key=_ended_at):
        value = _value(trial)
        if value is not None and objective.better(value, best):
            best, n = value, 0
        elif (
            best is not None
            and trial.state != TrialState.FAIL
            and (since is None or _ended_at(trial) > since)
        ):
            n += 1
    return n


def _value(trial: FrozenTrial) -> float | None:
    """Return the first objective of a fully trained trial."""
    return trial.values[0] if trial.state == TrialState.COMPLETE else None


def _ended_at(trial: FrozenTrial) -> datetime:
    assert trial.datetime_complete is not None
    return trial.datetime_complete.astimezone()
