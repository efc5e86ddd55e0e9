"""When the trials of a search would end: its stopping rule at work on trials that only take time."""

import heapq
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import count

import numpy as np

from tune.algorithms.budget import Budget
from tune.algorithms.stopping_rules import StoppingRule


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTime:
    """What a trial takes, in seconds."""

    start_s: float
    """Before its first image."""
    image_s: float
    """Of training."""
    report_s: float
    quick_s: float


@dataclass(frozen=True, slots=True)
class SimulatedSearch:
    """How a search went."""

    seconds: float
    """Until the last trial ended."""
    images: list[int]
    """Those that each trial has seen which ended, by number."""
    n_reports: int
    """Of all trials."""


def simulate_search(
    times: Iterator[TrialTime],
    *,
    n_trials: int | None,
    slots: int,
    budget: Budget,
    rule: StoppingRule | None,
    generator: np.random.Generator,
    gain: float = 0.0,
    limit_s: float | None = None,
) -> SimulatedSearch:
    """Run trials, ``slots`` at a time, each until the rule stops it or its budget is used.

    Which trial is good is drawn at random, whatever it costs; all have the same chances but for ``gain``.

    Parameters
    ----------
    times
        What each trial takes, in the order in which they start.
    n_trials
        How many there are; None: as many as begin within ``limit_s``.
    slots
        Trials at once.
    budget, rule
        When trials report, and what stops them before the end; None stops none.
    generator
        Decides which trials are good.
    gain
        By how many standard deviations a hundredth trial is better than the first on average: a sampler that
        learns has more trials continue at the rungs.
    limit_s
        When all ends; trials that have not ended by then are not counted.

    Examples
    --------
    >>> budget = Budget(images=30, n_train=10, grace_period=10, reduction_factor=3)
    >>> four = [TrialTime(start_s=1.0, image_s=0.1, report_s=1.0, quick_s=0.5)] * 4
    >>> options = dict(slots=2, budget=budget, rule=None, generator=np.random.default_rng(0))
    >>> simulate_search(iter(four), n_trials=4, **options)
    SimulatedSearch(seconds=14.0, images=[30, 30, 30, 30], n_reports=12)
    """
    assert n_trials is not None or limit_s is not None
    rule, numbers = deepcopy(rule), count()
    ended: dict[int, int] = {}
    running: list[tuple[float, int, int, TrialTime]] = []  # when a trial reports, its number, which report
    quality: dict[int, float] = {}
    reports, n_reports = budget.reports, 0

    def step_s(time: TrialTime, place: int) -> float:
        """Return the seconds from one report of a trial to the next."""
        images = reports[place] - (reports[place - 1] if place else 0)
        look_s = time.quick_s if reports[place] < budget.quick_until else time.report_s
        return images * time.image_s + look_s

    def start(now: float) -> None:
        number = next(numbers)
        if (n_trials is None or number < n_trials) and (limit_s is None or now < limit_s):
            time = next(times)
            quality[number] = generator.normal() + gain * number / 100
            heapq.heappush(running, (now + time.start_s + step_s(time, 0), number, 0, time))

    for _ in range(slots):
        start(0.0)
    now = 0.0
    while running:
        at, number, place, time = heapq.heappop(running)
        if limit_s is not None and at > limit_s:
            break
        now, n_reports = at, n_reports + 1
        value = quality[number] + generator.normal() / 3  # the order changes a little from rung to rung
        decision = rule.judge(str(number), number, reports[place], value) if rule else None
        if place == len(reports) - 1 or (decision is not None and decision.stopped):
            ended[number] = reports[place]
            start(now)
        else:
            heapq.heappush(running, (now + step_s(time, place + 1), number, place + 1, time))
    return SimulatedSearch(now, [ended[number] for number in sorted(ended)], n_reports)
