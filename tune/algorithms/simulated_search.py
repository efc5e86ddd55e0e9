"""When the trials of a search would end: its stopping rule at work on trials that only take time."""

import heapq
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import count

import numpy as np

from tune.algorithms.stopping_rules import StoppingRule


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTime:
    """What a trial takes, in seconds."""

    start_s: float
    """Before its first epoch."""
    epoch_s: float


@dataclass(frozen=True, slots=True)
class SimulatedSearch:
    """How a search went."""

    seconds: float
    """Until the last trial ended."""
    epochs: list[int]
    """Of each trial that ended, by number."""


def simulate_search(
    times: Iterator[TrialTime],
    *,
    n_trials: int | None,
    slots: int,
    max_epochs: int,
    rule: StoppingRule | None,
    generator: np.random.Generator,
    limit_s: float | None = None,
) -> SimulatedSearch:
    """Run trials, ``slots`` at a time, each until the rule stops it or its budget is used.

    Which trial is good is drawn at random, whatever it costs: at each rung a trial has the same chance as any
    other that has come there.

    Parameters
    ----------
    times
        What each trial takes, in the order in which they start.
    n_trials
        How many there are; None: as many as begin within ``limit_s``.
    slots
        Trials at once.
    max_epochs, rule
        The full budget, and what stops trials before; None stops none.
    generator
        Decides which trials are good.
    limit_s
        When all ends; trials that have not ended by then are not counted.

    Examples
    --------
    >>> four = [TrialTime(start_s=1.0, epoch_s=2.0)] * 4
    >>> options = dict(slots=2, max_epochs=3, rule=None, generator=np.random.default_rng(0))
    >>> simulate_search(iter(four), n_trials=4, **options)
    SimulatedSearch(seconds=14.0, epochs=[3, 3, 3, 3])
    """
    assert n_trials is not None or limit_s is not None
    rule, numbers = deepcopy(rule), count()
    ended: dict[int, int] = {}
    running: list[tuple[float, int, int, float]] = []  # end of an epoch, trial, epoch, seconds of an epoch
    quality: dict[int, float] = {}

    def start(now: float) -> None:
        number = next(numbers)
        if (n_trials is None or number < n_trials) and (limit_s is None or now < limit_s):
            time = next(times)
            quality[number] = generator.normal()
            heapq.heappush(running, (now + time.start_s + time.epoch_s, number, 1, time.epoch_s))

    for _ in range(slots):
        start(0.0)
    now = 0.0
    while running:
        at, number, epoch, epoch_s = heapq.heappop(running)
        if limit_s is not None and at > limit_s:
            break
        now = at
        value = quality[number] + generator.normal() / 3  # the order changes a little from rung to rung
        decision = rule.judge(str(number), number, epoch, value) if rule else None
        if epoch == max_epochs or (decision is not None and decision.stopped):
            ended[number] = epoch
            start(now)
        else:
            heapq.heappush(running, (now + epoch_s, number, epoch + 1, epoch_s))
    return SimulatedSearch(now, [ended[number] for number in sorted(ended)])
