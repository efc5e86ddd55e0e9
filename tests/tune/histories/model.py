"""What the state of a study must be, said simply: reports, ends, and what follows from them."""

import random
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from tune.algorithms.objective import Objective

N_TRAIN, GRACE, FACTOR = 16, 8, 4
"""Training images; the first rung, in images; one of so many trials continues."""


@dataclass
class Report:
    """What a trial sends after so many images; ``values`` is None where one is not finite."""

    images: int
    values: tuple[float, ...] | None
    reason: str | None


class World:
    """What trials would report, whoever asks and however often."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def report(self, number: int, images: int) -> Report:
        draw = random.Random(f"{self.seed} {number} {images}")
        reason = draw.choices([None, "nan", "oom", "collapsed"], [60, 1, 1, 1])[0]
        if reason == "collapsed" and images < GRACE:
            reason = None
        values = None if reason in ("nan", "oom") else (draw.randrange(10) / 10, draw.randrange(10) / 10)
        return Report(images, values, reason)


@dataclass
class ModelTrial:
    """What is known of a trial: its reports, and how it stands."""

    budget: int
    """In images, with which it was proposed."""
    reports: dict[int, tuple[float, ...] | None] = field(default_factory=dict)
    quick: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    """Reports that the tables lack: of an end that no checkpoint has, as the driver died at that moment."""
    row: tuple[str, str | None] = ("pending", None)
    state: str = "RUNNING"
    cutoff: tuple[int, float] | None = None

    @property
    def curve(self) -> dict[int, tuple[float, ...]]:
        return {at: values for at, values in sorted(self.reports.items()) if values is not None}

    @property
    def rows(self) -> dict[int, tuple[float, ...] | None]:
        return {at: values for at, values in sorted(self.reports.items()) if at not in self.lost}


@dataclass
class Model:
    """What the state of a study must be. It remembers no rung: those follow from the reports."""

    scheduler: str
    objectives: tuple[Objective, ...]
    budget: Any
    trials: list[ModelTrial] = field(default_factory=list)

    def signed(self, trial: ModelTrial, images: int) -> float:
        return self.objectives[0].sign * trial.curve[images][0]

    def rungs_of(self, number: int) -> list[int]:
        """Where ASHA judges a trial; a bracket of Hyperband begins one rung later than the one before."""
        rungs = [at for k in range(9) if (at := GRACE * FACTOR**k) < self.budget.images]
        return rungs[number % len(rungs) :] if self.scheduler == "hyperband" else rungs

    def rung(self, number: int, images: int) -> dict[int, float]:
        """The values of the trials that a trial is compared with, after so many images."""
        like = (self.trials[number].budget, self.rungs_of(number))
        return {
            other: self.signed(trial, images)
            for other, trial in enumerate(self.trials)
            if (trial.budget, self.rungs_of(other)) == like and images in trial.curve
        }

    def cutoff(self, number: int, images: int) -> float | None:
        """What a trial that has just reported must reach, None where it is not judged."""
        own = self.trials[number]
        if images >= self.budget.images or self.scheduler == "none":
            return None
        if self.scheduler == "median":
            means = [
                fmean(self.signed(trial, at) for at in trial.curve if at <= images)
                for other, trial in enumerate(self.trials)
                if other != number and trial.budget == own.budget and max(trial.curve, default=0) >= images
            ]
            return median(means) if images >= GRACE and len(means) >= 3 else None
        if images not in self.rungs_of(number):
            return None
        values = sorted(self.rung(number, images).values(), reverse=True)
        return values[max(1, len(values) // FACTOR) - 1]

    def deliver(self, number: int, report: Report) -> bool:
        """Take a report; returns whether the trial has ended."""
        trial = self.trials[number]
        if report.images in trial.reports and report.reason is None:  # of a worker that has trained it again
            return False
        trial.lost.discard(report.images)
        if report.reason != "oom":
            trial.reports[report.images] = report.values and report.values[: len(self.objectives)]
            if report.images < self.budget.quick_until:
                trial.quick.add(report.images)
        best = report.values and self.signed(trial, report.images)
        cutoff = None if report.values is None else self.cutoff(number, report.images)
        if self.scheduler == "median" and cutoff is not None:
            best = max(self.signed(trial, at) for at in trial.curve)
        if report.reason is not None:
            state = "FAIL" if report.reason == "oom" else "PRUNED"
            self.end(number, state, ("failed", report.reason))
        elif report.images >= self.budget.images:
            self.end(number, "COMPLETE", ("completed", None))
        elif cutoff is not None and best < cutoff:
            self.end(number, "PRUNED", ("stopped_early", "rung"))
            trial.cutoff = (report.images, self.objectives[0].sign * cutoff)
        return trial.state != "RUNNING"

    def end(self, number: int, state: str, row: tuple[str, str | None]) -> None:
        self.trials[number].state, self.trials[number].row = state, row

    def restart(self, ahead: dict[int, Report]) -> None:
        """What a new driver makes of it, and of the last checkpoints, which may be ahead of all else."""
        for number, trial in enumerate(self.trials):
            if trial.state in ("RUNNING", "WAITING"):
                trial.state, trial.row = "RUNNING", ("pending", None)
                if number in ahead:
                    self.deliver(number, ahead[number])

    def extend(self, budget: Any) -> None:
        if budget.images > self.budget.images:
            self.budget = budget
            again = [
                n for n, trial in enumerate(self.trials) if trial.state == "COMPLETE" or self.promising(n)
            ]
            for number in again:
                self.end(number, "RUNNING", ("pending", None))
                self.trials[number].cutoff = None

    def promising(self, number: int) -> bool:
        trial = self.trials[number]
        if trial.row != ("stopped_early", "rung") or self.scheduler not in ("asha", "hyperband"):
            return False
        # With another budget there are other brackets, so that it may not be judged at all.
        last = max((at for at in self.rungs_of(number) if at in trial.curve), default=0)
        cutoff = self.cutoff(number, last)
        return cutoff is not None and self.signed(trial, last) >= cutoff

    def best(self, trial: ModelTrial) -> int | None:
        """After how many images the best report came; quick looks count as long as there is nothing else."""
        full = {at: values for at, values in trial.rows.items() if at not in trial.quick} or trial.rows
        known = sorted(at for at, values in full.items() if values is not None)
        return max(known, key=lambda at: self.signed(trial, at), default=None)

    def state(self) -> list[dict[str, Any]]:
        """What `real_state` must be."""
        found = []
        for trial in self.trials:
            best, last = self.best(trial), max(trial.rows, default=0)
            cutoff = trial.cutoff and (trial.cutoff[0] / N_TRAIN, trial.cutoff[1])
            value = None if best is None else trial.curve[best]
            stored = list(value or ()) if trial.state == "COMPLETE" else None
            if trial.state == "PRUNED" and trial.curve and len(self.objectives) == 1:
                stored = list(trial.curve[max(trial.curve)])  # Optuna's own way
            found.append(
                {
                    "state": trial.state,
                    "curve": trial.curve,
                    "values": stored,
                    "row": trial.row,
                    "objective": value and value[0],
                    "best_epoch": best and best / N_TRAIN,
                    "seen": (last, last / N_TRAIN),
                    "cutoff": cutoff or (None, None),
                    "reports": {at: values and values[0] for at, values in trial.rows.items()},
                }
            )
        return found
