"""The time budget of a study: what its trials may use, so that all that follows them ends in time as well."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tune.storage.trial_status import TrialStatus
from vae.errors import UsageError


@dataclass(frozen=True, slots=True)
class TimeBudget:
    """A number of seconds from the start of the command on, shared by trials, fresh seeds and evaluation."""

    seconds: float
    started: float
    """On `time.perf_counter`."""
    evaluation_s: float
    """What the evaluation will take at most."""
    finalists: int
    finalist_seeds: int
    clock: Callable[[], float] = time.perf_counter

    def check(self) -> None:
        """Raise a UsageError if the evaluation alone would take all of it."""
        if self.left() <= 0:
            raise UsageError(
                f"a time budget of {self.seconds:.0f} s leaves no time for trials: the evaluation takes "
                f"up to {self.evaluation_s:.0f} s here; give a longer one, or --no-evaluate"
            )

    def left(self) -> float:
        """Return the seconds until the evaluation must begin."""
        return self.seconds - (self.clock() - self.started) - self.evaluation_s

    def left_for_trials(self, rows: Iterable[Mapping[str, Any]], slots: int) -> float:
        """Return the seconds until the trials must end.

        Rows of the `trials` table tell what seeds cost, of which ``slots`` are trained at once.
        """
        left = self.left()
        if not self.finalist_seeds:
            return left
        costs = sorted(
            (row["train_seconds"] for row in rows if row["status"] == TrialStatus.COMPLETED), reverse=True
        )
        runs = [cost for cost in costs[: self.finalists] for _ in range(self.finalist_seeds)]
        if not runs:
            return left
        # The longest comes last at worst, behind an even share of the others.
        return left - (sum(runs) / max(1, slots) + max(runs))
