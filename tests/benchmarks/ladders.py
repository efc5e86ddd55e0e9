"""Which rungs find a good configuration soonest: random proposals replayed on stored learning curves.

`python -m tests.benchmarks.ladders` replays a search with each ladder of rungs on the table of
`search_curves`. Each seed draws an order of its configurations, the same for all ladders. A trial costs the
seconds that its training and its looks took, and a fixed overhead; two run at once.
"""

import argparse
import heapq
import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tests.benchmarks.search_curves import BUDGET, MARKS, TABLES
from tune.algorithms.stopping_rules import Asha

OVERHEAD_S = 0.5
"""Of a trial, beside its training and its looks."""
SLOTS = 2
N_TRAIN = 50_000
EIGHTH = BUDGET // 8
LADDERS = {
    "B/4, 3 (as it was)": (16, 48),
    "B/8, 2": (8, 16, 32),
    "B/8, 3": (8, 24),
    "B/8, 4": (8, 32),
    "B/16, 2": (4, 8, 16, 32),
    "B/16, 3": (4, 12, 40),
    "B/16, 4": (4, 16),
    "B/32, 2": (2, 4, 8, 16, 32),
    "B/32, 3": (2, 6, 16, 56),
    "B/32, 4": (2, 8, 32),
    "B/64, 2": (1, 2, 4, 8, 16, 32),
    "B/64, 4": (1, 4, 16),
}
"""First rung as a part of the budget and the reduction factor: the rungs in 64ths of the budget."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What one configuration reports at each mark, and the seconds until there without and with the looks."""

    values: dict[int, float]
    quick: dict[int, float]
    train_s: dict[int, float]
    look_s: float
    quick_s: float

    @property
    def end(self) -> float:
        return self.values.get(BUDGET, -1.0)


def read_curves(path: Path) -> list[Curve]:
    """Return the curves of a table."""
    curves = []
    for _, rows in pd.read_parquet(path).groupby("number"):
        at = rows.set_index("mark")
        look_s = float(at["val_knn_accuracy_seconds"].mean() + at["panel_seconds"].mean())
        quick_s = float(at["quick_knn_accuracy_seconds"].mean() + at["panel_seconds"].mean() / 4)
        curves.append(
            Curve(
                at["val_knn_accuracy"].to_dict(),
                at["quick_knn_accuracy"].to_dict(),
                at["train_seconds"].to_dict(),
                look_s,
                quick_s,
            )
        )
    return curves


@dataclass(frozen=True, slots=True)
class Replay:
    """How a search went: seconds, and what was fully trained when, in order."""

    seconds: float
    completed: list[tuple[float, float]]

    def best(self, within_s: float = float("inf")) -> float:
        return max((value for at, value in self.completed if at <= within_s), default=0.0)

    def until(self, value: float) -> float:
        """Return when the first fully trained configuration was that good; infinite if none was."""
        return min((at for at, found in self.completed if found >= value), default=float("inf"))


def replay(curves: list[Curve], rungs: tuple[int, ...], factor: int) -> Replay:
    """Run the configurations in their order."""
    at = [BUDGET * part // 64 for part in rungs]
    reports = sorted({*at, *range(EIGHTH, BUDGET + 1, EIGHTH)})
    rule = Asha(budget=BUDGET, grace_period=at[0], reduction_factor=factor)
    rule.rungs = {images: type(rule.rungs[at[0]])(images) for images in at}
    free, completed = [0.0] * SLOTS, []
    events: list[tuple[float, int, int, float]] = []  # when, trial, which report, seconds of looks so far
    waiting = iter(range(len(curves)))
    now = 0.0

    def step(start: float, number: int, place: int) -> None:
        curve, images = curves[number], reports[place]
        if images not in curve.train_s:  # diverged
            return begin(start)
        before = curve.train_s[reports[place - 1]] if place else 0.0
        look = curve.look_s if images >= EIGHTH else curve.quick_s
        heapq.heappush(events, (start + curve.train_s[images] - before + look, number, place, 0.0))

    def begin(start: float) -> None:
        number = next(waiting, None)
        if number is not None:
            step(start + OVERHEAD_S, number, 0)

    for start in free:
        begin(start)
    while events:
        now, number, place, _ = heapq.heappop(events)
        curve, images = curves[number], reports[place]
        value = curve.values[images] if images >= EIGHTH else curve.quick[images]
        decision = rule.judge(str(number), number, images, value)
        if place == len(reports) - 1:
            completed.append((now, max(v for m, v in curve.values.items() if m in reports and m >= EIGHTH)))
            begin(now)
        elif decision is not None and decision.stopped:
            begin(now)
        else:
            step(now, number, place + 1)
    return Replay(now, completed)


def main() -> None:
    """Print a row for each ladder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", default="fmnist")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--good", type=float, default=0.86, help="what a fully trained one is to reach")
    arguments = parser.parse_args()
    curves = read_curves(TABLES / f"{arguments.table}.parquet")
    full = statistics.mean(curve.train_s.get(BUDGET, 0.0) for curve in curves)
    ends = np.array([curve.end for curve in curves])
    print(f"{len(curves)} configurations, {full:.0f} s each in full, best {ends.max():.4f}")
    for mark in MARKS:
        known = [c for c in curves if BUDGET in c.values]
        ranks = pd.DataFrame({"now": [c.quick[mark] for c in known], "end": [c.end for c in known]})
        rho = ranks.corr("spearman").iloc[0, 1]
        print(f"  {mark / N_TRAIN:5.3f} epochs: rank correlation with the end {rho:.2f}")
    base = None
    for name, rungs in LADDERS.items():
        factor = int(name.split(", ")[1].split()[0])
        found = []
        for seed in range(arguments.seeds):
            order = np.random.default_rng(seed).permutation(len(curves))
            found.append(replay([curves[i] for i in order], rungs, factor))
        seconds = np.median([each.seconds for each in found])
        until = np.array([each.until(arguments.good) for each in found])
        regret = ends.max() - np.mean([each.best() for each in found])
        base = base or seconds
        print(
            f"{name:20} {seconds:6.0f} s ({seconds / base:.2f})  "
            f"until {arguments.good}: {np.median(until):6.0f} s  "
            f"regret {100 * regret:.2f} points  completed {np.mean([len(e.completed) for e in found]):.1f}"
        )


if __name__ == "__main__":
    main()
