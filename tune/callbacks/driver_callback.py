"""What callbacks of the driver share: they work every few seconds and are never restored."""

import math
import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback


class DriverCallback(Callback):
    """A Tune callback whose `update` is called after a step of Tune, at most once in ``every_s`` seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._updated_at = -math.inf

    @property
    def every_s(self) -> float:
        """Seconds from one `update` to the next."""
        return math.inf

    def update(self) -> None:
        """Do what is to be done every few seconds; by default nothing is."""

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        now = self._clock()
        if now - self._updated_at >= self.every_s:
            self._updated_at = now
            self.update()

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks with the experiment; nothing reads that, and a terminal cannot travel.
        return {}
