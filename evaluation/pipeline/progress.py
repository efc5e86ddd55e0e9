"""How far an evaluation is: a bar on a terminal, a line in a notebook, lines with the time left in logs."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from evaluation.embedders import EmbeddingKey
from evaluation.pipeline.cost import Step, wall_seconds
from evaluation.pipeline.serial import Embedded, Event, MissingScore
from tune.space.display import duration_text
from vae.progress import CellLine

PRINT_EVERY_S = 20.0
"""Where there is no terminal there is a line at least every so many seconds, and one second more."""
_LOOK_EVERY_S = 1.0
_PRIOR_S = 30.0
"""So many seconds of the evaluation count as having gone as fast as expected, so that few say little."""


class Progress:
    """Counts the events of an evaluation, a context manager around it.

    The time left is what `evaluation.pipeline.cost` expects of the steps to come, at the speed of those that
    are done.

    Parameters
    ----------
    console
        Where it is shown.
    expected
        Core-seconds that each step is expected to take.
    n_slots
        How many steps run at once.
    """

    def __init__(
        self,
        console: Console,
        expected: Mapping[Step, float],
        n_slots: int = 1,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console
        self.n_steps = len(expected)
        self._to_come = dict(expected)
        self._n_slots = n_slots
        self._whole_s = wall_seconds(expected, n_slots)
        self._open = Counter(key for key, _ in expected)
        self._clock = clock
        self._started = self._shown_at = self._event_at = clock()
        self._lock = threading.RLock()  # events and the thread that looks
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.bar = RichProgress(
            TextColumn("evaluating"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.task = self.bar.add_task("", total=self.n_steps)
        self._cell = CellLine() if console.is_jupyter else None

    def __enter__(self) -> Self:
        self._started = self._event_at = self._clock()
        self.bar.start()
        self._show_line(f"evaluating: {self.n_steps} steps, {self.time_left}")
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        self.bar.stop()

    @property
    def n_done(self) -> int:
        return self.n_steps - len(self._to_come)

    @property
    def time_left(self) -> str:
        """How long it will still take, in words that say that this is an estimate."""
        to_come = wall_seconds(self._to_come, self._n_slots)
        past, done = self._event_at - self._started, max(0.0, self._whole_s - to_come)
        slowdown = (past + _PRIOR_S) / (done + _PRIOR_S) if self.n_done else 1.0
        left = to_come * slowdown - (self._clock() - self._event_at)
        return (
            f"about {duration_text(max(left, 1))} left (estimated)" if left > 0 else "longer than estimated"
        )

    def show(self, event: Event) -> None:
        """Count an event."""
        key: EmbeddingKey = event.key
        if isinstance(event, MissingScore) and event.round is None:
            steps = [step for step in self._to_come if step[0] == key]
            description = f"{key} is missing"
        elif isinstance(event, Embedded):
            steps = [(key, None)]
            description = f"{key} embedded"
        else:
            steps = [(key, str(event.round))]
            description = f"{key}, {event.round} scored"
        with self._lock:
            self._event_at = self._clock()
            for step in steps:
                self._to_come.pop(step, None)
            self._open[key] -= len(steps)
            self.bar.update(self.task, completed=self.n_done, description=f"{description}, {self.time_left}")
            if not self._open[key]:
                self._show_line(self._standing(f" {key} done"))

    def look(self) -> None:
        """Print a line if there was none for long."""
        with self._lock:
            if self._clock() - self._shown_at >= PRINT_EVERY_S:
                self._show_line(self._standing(" steps"))

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_EVERY_S):
            self.look()

    def _standing(self, what: str) -> str:
        text = f"{self.n_done}/{self.n_steps}{what}, {self._clock() - self._started:.0f} s"
        return f"{text}, {self.time_left}" if self._to_come else text

    def _show_line(self, text: str) -> None:
        self._shown_at = self._clock()
        if self._cell is not None:
            self._cell.show(text)
        elif not self.console.is_terminal:
            self.console.print(text, markup=False, emoji=False, highlight=False)  # it may be a caller's
