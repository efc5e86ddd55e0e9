"""A Tune callback that adds up what the trials had to run on: nodes come and go while a search runs."""

import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from tune.cluster.resources import TrialResources

LOOK_EVERY_S = 3.0


class Utilization(Callback):
    """Adds up the time of all slots that there are, from now on.

    Parameters
    ----------
    resources
        Of the trials.
    """

    def __init__(self, resources: TrialResources, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.resources = resources
        self.slots = resources.slots_now()
        self.seconds = 0.0
        self.slot_seconds = 0.0
        self._clock = clock
        self._looked_at = clock()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks with the experiment; nothing reads that

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self._clock() - self._looked_at >= LOOK_EVERY_S:
            self.look()

    def look(self) -> None:
        """Count the time since the last look, and the slots that there are now."""
        now = self._clock()
        self.seconds += now - self._looked_at
        self.slot_seconds += (now - self._looked_at) * self.slots
        self.slots, self._looked_at = self.resources.slots_now(), now

    def share(self, train_seconds: float) -> float:
        """Return the share of the slots' time that was epochs, not starting, saving and waiting."""
        return train_seconds / self.slot_seconds if self.slot_seconds else 0.0
