"""A Tune callback that adds up what the trials had to run on: nodes come and go while a search runs."""

import time
from collections.abc import Callable

from tune.callbacks.driver_callback import DriverCallback
from tune.cluster.resources import TrialResources


class Utilization(DriverCallback):
    """Adds up the time of all slots that there are, from its construction on.

    Parameters
    ----------
    resources
        Of the trials.
    """

    every_s = 3.0

    def __init__(self, resources: TrialResources, *, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(clock=clock)
        self.resources = resources
        self.slots = resources.slots_now()
        self.seconds = 0.0
        self.slot_seconds = 0.0
        self._sampled_at = self._updated_at = clock()

    def update(self) -> None:
        """Count the time since the last update, and the slots that there are now."""
        now = self._clock()
        self.seconds += now - self._sampled_at
        self.slot_seconds += (now - self._sampled_at) * self.slots
        self.slots, self._sampled_at = self.resources.slots_now(), now

    def share(self, train_seconds: float) -> float:
        """Return the share of the slots' time that was epochs, not starting, saving and waiting."""
        return train_seconds / self.slot_seconds if self.slot_seconds else 0.0
