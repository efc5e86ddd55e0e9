"""How a search ends before its trials do: Ctrl-C, SIGTERM or the time budget. Everything is written."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tune.callbacks.driver_callback import DriverCallback
from tune.callbacks.utilization import Utilization
from tune.storage.trial_status import StopReason
from tune.study.study_tables import StudyTables
from tune.study.time_budget import TimeBudget

logger = logging.getLogger(__name__)


class Interruption(DriverCallback):
    """A Tune callback that ends Tune's loop, with its last snapshot, as soon as there is a reason to.

    Tune ends in that way on SIGUSR1 only: its stoppers mark running trials as finished, so that none could be
    resumed, its SIGINT handler stays behind and swallows a Ctrl-C in the evaluation, SIGTERM loses it all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reason: str | None = None
        """Why the search ends; None as long as it does not."""
        self._sent = False

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self.reason is not None and not self._sent:
            self._sent = True
            logger.warning(
                "ending (%s), the workers have some seconds to stop; Ctrl-C quits immediately", self.reason
            )
            os.kill(os.getpid(), signal.SIGUSR1)

    @contextmanager
    def catching_signals(self) -> Iterator[None]:
        """Make the first SIGINT or SIGTERM the reason; a second one has its usual effect."""
        usual = {
            number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        }

        def handle(number: int, frame: FrameType | None) -> None:
            if self._sent:  # on SIGUSR1 Tune puts back the handler that it found, this one
                signal.signal(number, usual[signal.Signals(number)])
                signal.raise_signal(number)
                return
            self.reason = StopReason.INTERRUPTED
            signal.signal(signal.SIGINT, usual[signal.SIGINT])
            signal.signal(signal.SIGTERM, usual[signal.SIGTERM])

        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGTERM, handle)
        try:
            yield
        finally:
            for number, handler in usual.items():
                signal.signal(number, handler)


class TimeLimit(DriverCallback):
    """Ends the search when its time budget leaves no more time for trials.

    Parameters
    ----------
    shutdown
        What ends it; it comes after this callback.
    budget
        Of the study.
    tables, utilization
        What the trials have cost, and how many run at once: that says what the fresh seeds will take.
    """

    def __init__(
        self, shutdown: Interruption, budget: TimeBudget, tables: StudyTables, utilization: Utilization
    ) -> None:
        super().__init__()
        self.shutdown = shutdown
        self.budget = budget
        self.tables = tables
        self.utilization = utilization

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        seconds = self.budget.left_for_trials(self.tables.trials.values(), self.utilization.slots)
        if seconds <= 0 and self.shutdown.reason is None:
            self.shutdown.reason = StopReason.TIME_BUDGET
