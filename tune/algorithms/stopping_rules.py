"""When a trial is stopped early: ASHA, asynchronous Hyperband and the median rule, over numbers alone.

A rule knows nothing of Ray: the search, its continuation after a crash and a simulation use it alike. Every
value handed to a rule is such that larger is better.
"""

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from statistics import median

from tune.algorithms.budget import rung_cutoff, rungs_below
from vae.errors import UsageError

SCHEDULERS = ("asha", "hyperband", "median", "none")


@dataclass(slots=True)
class Rung:
    """What was reported after so many images: a value per trial, larger is better."""

    images: int
    values: dict[str, float] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    def add(self, trial_id: str, number: int, value: float) -> None:
        """Keep what a trial reported here."""
        self.values[trial_id], self.numbers[trial_id] = value, number

    def cutoff(self, reduction_factor: float) -> float:
        """Return what it takes to be among the best ``1 / reduction_factor`` of all and of the latest trials.

        There is always one that has it. The latest are ``4 * reduction_factor`` trials, by their numbers.
        """
        n_latest = math.ceil(4 * reduction_factor)
        latest = sorted(self.values, key=self.numbers.__getitem__)[-n_latest:]
        return max(
            rung_cutoff(self.values.values(), reduction_factor),
            rung_cutoff([self.values[trial_id] for trial_id in latest], reduction_factor),
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a trial went on or was stopped after so many images, ``rung``; larger values are better."""

    rung: int
    value: float
    cutoff: float
    n_trials: int

    @property
    def stopped(self) -> bool:
        return self.value < self.cutoff


class StoppingRule(ABC):
    """Judges trials by their values; what it knows is a function of the learning curves it has seen."""

    @abstractmethod
    def judge(self, trial_id: str, number: int, images: int, value: float) -> Decision | None:
        """Judge a trial by its value after so many images; None where this rule does not, or has before."""

    @abstractmethod
    def restore(self, trial_id: str, number: int, curve: Mapping[int, float]) -> None:
        """Add what a trial reported before, images -> value, without judging it anew."""

    def promising(self, trial_id: str, number: int) -> bool:
        """Whether a trial that was stopped would continue if it were judged among all that are known now."""
        return False


class Asha(StoppingRule):
    """At the end of each rung only the best ``1 / reduction_factor`` of the trials seen there continue.

    The rule is that of Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020
    (https://arxiv.org/abs/1810.05934), in its stopping form: a trial is judged once, when it reaches a rung,
    against all that have been there. In the paper's symbols ``grace_period`` is r and ``budget`` R, both in
    images, ``reduction_factor`` is eta.

    A trial must be among the best of the latest ``4 * eta`` trials as well. The paper draws configurations at
    random; a sampler that learns proposes better and better ones, so that judged by all alone nearly half of
    them would continue.
    """

    def __init__(self, *, budget: int, grace_period: int, reduction_factor: float) -> None:
        self.reduction_factor = reduction_factor
        self.rungs = {at: Rung(at) for at in rungs_below(budget, grace_period, reduction_factor)}

    def judge(self, trial_id: str, number: int, images: int, value: float) -> Decision | None:
        rung = self.rungs.get(images)
        # A trial that was restored comes back to rungs where it was judged before.
        if rung is None or trial_id in rung.values:
            return None
        rung.add(trial_id, number, value)
        return Decision(images, value, rung.cutoff(self.reduction_factor), len(rung.values))

    def restore(self, trial_id: str, number: int, curve: Mapping[int, float]) -> None:
        for images, value in curve.items():
            if images in self.rungs:
                self.rungs[images].add(trial_id, number, value)

    def promising(self, trial_id: str, number: int) -> bool:
        judged = [rung for rung in self.rungs.values() if trial_id in rung.values]
        return bool(judged) and judged[-1].values[trial_id] >= judged[-1].cutoff(self.reduction_factor)


class SeparateRules(StoppingRule):
    """Several rules side by side, each with trials of its own; they are not compared with one another."""

    @abstractmethod
    def rule_of(self, number: int) -> StoppingRule:
        """Return the rule that judges the trial with this number, always the same one."""

    def judge(self, trial_id: str, number: int, images: int, value: float) -> Decision | None:
        return self.rule_of(number).judge(trial_id, number, images, value)

    def restore(self, trial_id: str, number: int, curve: Mapping[int, float]) -> None:
        self.rule_of(number).restore(trial_id, number, curve)

    def promising(self, trial_id: str, number: int) -> bool:
        return self.rule_of(number).promising(trial_id, number)


class Hyperband(SeparateRules):
    """ASHA with several grace periods at once, for objectives whose early values mislead.

    Asynchronous Hyperband of the same paper, section 3.2: bracket s lets its trials run for
    ``grace_period * reduction_factor**s`` images before it judges them. Trials take the brackets in turn, by
    their number, so that a resumed search uses the same ones.
    """

    def __init__(self, *, budget: int, grace_period: int, reduction_factor: float) -> None:
        graces = rungs_below(budget, grace_period, reduction_factor)
        self.brackets = [
            Asha(budget=budget, grace_period=grace, reduction_factor=reduction_factor) for grace in graces
        ]

    def rule_of(self, number: int) -> Asha:
        return self.brackets[number % len(self.brackets)]


class Median(StoppingRule):
    """Stop a trial whose best value so far is below the median of the other trials' running means.

    The rule of Google Vizier, section 3.2.2 (Golovin et al., KDD 2017), judged at every report from
    ``grace_period`` on, as soon as `MIN_TRIALS` others have come as far.
    """

    MIN_TRIALS = 3

    def __init__(self, *, budget: int, grace_period: int) -> None:
        rungs_below(budget, grace_period, 2)  # the same checks
        self.budget = budget
        self.grace_period = grace_period
        self.curves: dict[str, dict[int, float]] = {}

    def judge(self, trial_id: str, number: int, images: int, value: float) -> Decision | None:
        curve = self.curves.setdefault(trial_id, {})
        if images in curve:
            return None
        curve[images] = value
        if not self.grace_period <= images < self.budget:
            return None
        others = [
            sum(v for at, v in other.items() if at <= images) / sum(at <= images for at in other)
            for other_id, other in self.curves.items()
            if other_id != trial_id and max(other) >= images
        ]
        if len(others) < self.MIN_TRIALS:
            return None
        return Decision(images, max(curve.values()), median(others), len(others) + 1)

    def restore(self, trial_id: str, number: int, curve: Mapping[int, float]) -> None:
        if curve:
            self.curves[trial_id] = dict(curve)


class PerBudget(SeparateRules):
    """Judge each trial only against those that were proposed with the same budget.

    The learning rate follows its schedule over the budget, so those of a larger one are behind at first.

    Parameters
    ----------
    rule
        That of one budget, which has seen no trial yet.
    budgets
        Budget in epochs of each trial, by number, where it is not the present one.
    """

    def __init__(self, rule: StoppingRule, budgets: Mapping[int, float]) -> None:
        self.budgets = budgets
        self.rules: defaultdict[float | None, StoppingRule] = defaultdict(lambda: deepcopy(rule))

    def rule_of(self, number: int) -> StoppingRule:
        return self.rules[self.budgets.get(number)]


def make_rule(
    scheduler: str, *, budget: int, grace_period: int, reduction_factor: float
) -> StoppingRule | None:
    """Return the rule of one of `SCHEDULERS`; None lets every trial have its full budget.

    Raises
    ------
    UsageError
        There is no such scheduler, or it could never stop anything with these numbers.
    """
    match scheduler:
        case "asha":
            return Asha(budget=budget, grace_period=grace_period, reduction_factor=reduction_factor)
        case "hyperband":
            return Hyperband(budget=budget, grace_period=grace_period, reduction_factor=reduction_factor)
        case "median":
            return Median(budget=budget, grace_period=grace_period)
        case "none":
            return None
    raise UsageError(f"the scheduler must be one of {', '.join(SCHEDULERS)}, got '{scheduler}'")
