"""How fast a search goes and how long it will still take: what remains, simulated by the trials so far."""

import heapq
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
    """How fast a search goes, in training images of all its trials, and when it may end."""

    elapsed_s: float
    images_per_s: float
    remaining_s: float | None

    @classmethod
    def estimate(
        cls,
        rows: Iterable[Row],
        *,
        n_trials: int,
        reports: Sequence[int],
        elapsed_s: float,
        slots: int = 1,
        images_before: int = 0,
    ) -> "Pace":
        """Estimate from the trials so far, of which an earlier session has trained ``images_before``.

        What remains is simulated on ``slots`` that each train one trial at a time: those that run, those that
        wait, and those to come. How far a trial gets is drawn from the shares of those so far that ended at
        each of the ``reports`` (after how many images) they reached; an image takes what it took before, in
        one to come as in one of the others.
        """
        rows = list(rows)
        done = sum(row["images"] for row in rows) - images_before
        rate = done / elapsed_s if done > 0 and elapsed_s > 0 else 0.0
        costs = [row["train_seconds"] / row["images"] for row in rows if row["images"]]
        if not rate or not costs:
            return cls(elapsed_s, 0.0, None)
        begun = [row for row in rows if row["status"] in (TrialStatus.RUNNING, TrialStatus.PENDING)]
        ended = [row for row in rows if row["status"] not in (TrialStatus.RUNNING, TrialStatus.PENDING)]
        survival = _survival([r["images"] for r in ended], [r["images"] for r in begun], reports)
        running = [row for row in begun if row["status"] == TrialStatus.RUNNING]
        waiting = [row for row in begun if row["status"] == TrialStatus.PENDING]
        overhead_s, generator = _overhead(ended), np.random.default_rng(0)

        def seconds(row: Row | None) -> float:
            """Draw the time that a trial still takes; None: one to come."""
            images = row["images"] if row else 0
            cost = row["train_seconds"] / images if row and images else float(generator.choice(costs))
            return cost * (_draw_end(survival, images, generator.random()) - images)

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
        return f"{float(f'{self.images_per_s:.2g}'):,.0f} images/s · {_clock(self.elapsed_s)}{left}"


def _survival(ended: Sequence[int], begun: Sequence[int], reports: Sequence[int]) -> list[tuple[int, float]]:
    """Return for each report the share of trials that train beyond it: Kaplan and Meier's estimate (1958).

    ``ended`` and ``begun`` are the images of those that have ended, and of those that have not.
    """
    ends, reached = Counter(ended), Counter([*ended, *begun])
    shares, share, n_there = [], 1.0, len(ended) + len(begun)
    for images in sorted({0, *reports[:-1], *ended, *begun}):
        if images >= reports[-1]:
            break
        share *= 1 - ends[images] / n_there if n_there else 1.0
        shares.append((images, share))
        n_there -= reached[images]
    return [*shares, (reports[-1], 0.0)]


def _draw_end(survival: Sequence[tuple[int, float]], images: int, uniform: float) -> int:
    """Return after how many images a trial ends that has seen so many, by a number in [0, 1)."""
    now = next((share for at, share in reversed(survival) if at <= images), 1.0)
    level = (1 - uniform) * now
    return next((at for at, share in survival if at > images and share < level), max(images, survival[-1][0]))


def _overhead(ended: Iterable[Row]) -> float:
    """Return the seconds that a trial takes beside its training, of which the median is that of most."""
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
