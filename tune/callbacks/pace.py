"""How fast a search goes and how long it will still take: what remains, simulated by the trials so far."""

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import numpy as np

from tune.storage.trial_status import TrialStatus

N_SIMULATIONS = 20
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a search goes, in epochs of all its trials, and when it may end."""

    elapsed_s: float
    epochs_per_s: float
    remaining_s: float | None

    @classmethod
    def estimate(
        cls,
        rows: Iterable[Row],
        *,
        n_trials: int,
        max_epochs: int,
        elapsed_s: float,
        slots: int = 1,
        epochs_before: int = 0,
    ) -> "Pace":
        """Estimate from the trials so far, of which an earlier session has trained ``epochs_before``.

        What remains is simulated on ``slots`` that each train one trial at a time: those that run, those that
        wait, and those to come. How far a trial gets is drawn from the shares of those so far that ended at
        each epoch they reached; an epoch takes what it took before, in one to come as in one of the others.
        """
        rows = list(rows)
        done = sum(row["epochs"] for row in rows) - epochs_before
        rate = done / elapsed_s if done > 0 and elapsed_s > 0 else 0.0
        costs = [row["train_seconds"] / row["epochs"] for row in rows if row["epochs"]]
        if not rate or not costs:
            return cls(elapsed_s, 0.0, None)
        begun = [row for row in rows if row["status"] in (TrialStatus.RUNNING, TrialStatus.PENDING)]
        ended = [row for row in rows if row["status"] not in (TrialStatus.RUNNING, TrialStatus.PENDING)]
        survival = _survival([r["epochs"] for r in ended], [r["epochs"] for r in begun], max_epochs)
        running = [row for row in begun if row["status"] == TrialStatus.RUNNING]
        waiting = [row for row in begun if row["status"] == TrialStatus.PENDING]
        overhead_s, generator = _overhead(ended), np.random.default_rng(0)

        def seconds(row: Row | None) -> float:
            """Draw the time that a trial still takes; None: one to come."""
            epochs = row["epochs"] if row else 0
            cost = row["train_seconds"] / epochs if row and epochs else float(generator.choice(costs))
            return cost * (_draw_end(survival, epochs, generator.random()) - epochs)

        def duration() -> float:
            """Draw how long it takes until the last trial has ended."""
            free_at = [seconds(row) for row in running]
            free_at += [0.0] * max(slots - len(running), 0 if running else 1)
            heapq.heapify(free_at)
            end = max(free_at)
            for row in (*waiting, *[None] * (n_trials - len(rows))):
                end = max(end, at := free_at[0] + overhead_s + seconds(row))
                heapq.heapreplace(free_at, at)
            return end

        return cls(elapsed_s, rate, fmean(duration() for _ in range(N_SIMULATIONS)))

    def __str__(self) -> str:
        left = f" · about {_clock(self.remaining_s)} left" if self.remaining_s else ""
        return f"{self.epochs_per_s:.2g} epochs/s · {_clock(self.elapsed_s)}{left}"


def _survival(ended: Sequence[int], begun: Sequence[int], max_epochs: int) -> list[float]:
    """Return for each epoch the share of trials that train beyond it: Kaplan and Meier's estimate (1958).

    ``ended`` and ``begun`` are the epochs of those that have ended, and of those that have not.
    """
    ends, reached = Counter(ended), Counter([*ended, *begun])
    shares, share, n_there = [], 1.0, len(ended) + len(begun)
    for epoch in range(max_epochs):
        share *= 1 - ends[epoch] / n_there if n_there else 1.0
        shares.append(share)
        n_there -= reached[epoch]
    return [*shares, 0.0]


def _draw_end(survival: Sequence[float], epochs: int, uniform: float) -> int:
    """Return at which epoch a trial ends that has trained so many, by a number in [0, 1)."""
    last = len(survival) - 1
    if epochs >= last:
        return epochs
    level = (1 - uniform) * survival[epochs]
    return min(last, bisect_right(survival, -level, lo=epochs + 1, key=lambda share: -share))


def _overhead(ended: Iterable[Row]) -> float:
    """Return the seconds that a trial takes beside its epochs, of which the median is that of most."""
    known = [
        (row["finished_at"] - row["started_at"]).total_seconds() - row["train_seconds"]
        for row in ended
        if row.get("started_at") and row.get("finished_at")
    ]
    return max(0.0, median(known)) if known else 0.0


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
