"""How far an evaluation is: a bar on a terminal, a line in a notebook, a line per embedding in logs."""

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from evaluation.embedders import EmbeddingKey
from evaluation.pipeline.serial import Embedded, Event, MissingScore
from vae.progress import CellLine


class Progress:
    """Counts the events of an evaluation, a context manager around it; ``n_rounds`` are those of each."""

    def __init__(self, console: Console, n_embeddings: int, n_rounds: int) -> None:
        self.console = console
        self.n_rounds = n_rounds
        self.n_steps = n_embeddings * (1 + n_rounds)
        self.done = 0
        self.remaining: dict[EmbeddingKey, int] = {}
        self.started = time.perf_counter()
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
        self.cell = CellLine() if console.is_jupyter else None

    def __enter__(self) -> Self:
        self.bar.start()
        self._show_line(f"evaluating: {self.n_steps} steps")
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def show(self, event: Event) -> None:
        """Count an event."""
        key = event.key
        if isinstance(event, MissingScore) and event.round is None:
            steps = 1 + self.n_rounds
            self.remaining[key] = 0
            description = f"{key} is missing"
        elif isinstance(event, Embedded):
            steps = 1
            self.remaining[key] = self.n_rounds
            description = f"{key} embedded"
        else:
            steps = 1
            self.remaining[key] -= 1
            description = f"{key}, {event.round} scored"
        self.done += steps
        self.bar.update(self.task, advance=steps, description=description)
        if self.remaining[key] == 0:
            seconds = time.perf_counter() - self.started
            self._show_line(f"{self.done}/{self.n_steps} {key} done, {seconds:.0f} s")

    def _show_line(self, text: str) -> None:
        if self.cell is not None:
            self.cell.show(text)
        elif not self.console.is_terminal:
            self.console.print(text, markup=False, emoji=False, highlight=False)  # it may be a caller's
