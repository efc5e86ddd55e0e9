"""How a search ends before its trials do: Ctrl-C, SIGTERM or the time budget. Everything is written."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from ray.tune import Callback

from tune.storage.trial_status import INTERRUPTED, TIME_BUDGET

logger = logging.getLogger(__name__)


@dataclass
class Interruption(Callback):
    """A Tune callback that ends Tune's loop, with its last snapshot, as soon as there is a reason to.

    Tune ends in that way on SIGUSR1 only: its stoppers mark running trials as finished, so that none could be
    resumed, its SIGINT handler stays behind and swallows a Ctrl-C in the evaluation, SIGTERM loses it all.
    """

    time_left: Callable[[], float] | None = None
    """Seconds that are left for the trials; None: no limit."""
    reason: str | None = None
    _sent: bool = field(default=False, init=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"time_left": None}  # Tune pickles its callbacks with the experiment

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self.reason is None and self.time_left is not None and self.time_left() <= 0:
            self.reason = TIME_BUDGET
        if self.reason is not None and not self._sent:
            self._sent = True
            logger.warning(
                "ending (%s), the workers have some seconds to stop; Ctrl-C leaves at once", self.reason
            )
            os.kill(os.getpid(), signal.SIGUSR1)

    @contextmanager
    def catching_signals(self) -> Iterator[None]:
        """Make the first SIGINT or SIGTERM the reason; a second works as usual, and so do all afterwards."""
        usual = {
            number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        }

        def handle(number: int, frame: FrameType | None) -> None:
            if self._sent:  # on SIGUSR1 Tune puts back the handler that it found, this one
                signal.signal(number, usual[signal.Signals(number)])
                signal.raise_signal(number)
                return
            self.reason = INTERRUPTED
            signal.signal(signal.SIGINT, usual[signal.SIGINT])
            signal.signal(signal.SIGTERM, usual[signal.SIGTERM])

        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGTERM, handle)
        try:
            yield
        finally:
            for number, handler in usual.items():
                signal.signal(number, handler)
