"""`python -m tune status RUN`: the trials of a study from its files, while it runs or afterwards."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from tune.algorithms.objective import Objective
from tune.callbacks.progress import status_counts, trial_table
from tune.storage.lock import is_held
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyStatus
from tune.storage.tables import TRIALS, read_rows
from tune.storage.trial_status import TrialStatus

LOOK_EVERY_S = 1.0
LOOK_WITHOUT_TERMINAL_EVERY_S = 5.0


class View(Protocol):
    """What is shown of a study, or of a folder of them, at one moment."""

    @property
    def is_running(self) -> bool:
        """Whether it will change."""

    @property
    def summary(self) -> str:
        """One line."""

    def view(self, console: Console) -> RenderableType:
        """Return all of it."""

    def live(self, console: Console) -> RenderableType:
        """Return what fits on the terminal."""


def watch_status(
    read: Callable[[], View], console: Console, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Show a view until nothing of it runs: a live table on a terminal, a line at each change elsewhere.

    Raises
    ------
    UsageError, StorageError
        As ``read``, which looks anew.
    """
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while (view := read()).is_running:
                live.update(view.live(console), refresh=True)
                sleep(LOOK_EVERY_S)
    else:
        shown = None
        while (view := read()).is_running:
            if view.summary != shown:
                shown = view.summary
                console.print(shown)
            sleep(LOOK_WITHOUT_TERMINAL_EVERY_S)
    console.print(view.view(console))


@dataclass(frozen=True, slots=True)
class StudyView:
    """What the files of a study say at one moment; ``rows`` are its trials, best first."""

    summary: str
    is_running: bool
    rows: list[dict[str, Any]]
    objective: Objective
    max_epochs: float

    @classmethod
    def read(cls, run: RunDirectory) -> "StudyView":
        """Read the files of a study.

        Raises
        ------
        StorageError
            One is missing or damaged.
        """
        if run.mirror:
            run.mirror.fetch(run.path, again=True)
        study = run.read_study()
        name = study.objectives[0]
        objective = Objective(name, "min" if study.mode == "min" else "max")
        rows = read_rows(run.trials_file, TRIALS) if run.trials_file.exists() else []
        rows.sort(
            key=lambda row: (
                row["status"] != TrialStatus.COMPLETED,
                row["objective"] is None,
                -objective.sign * (row["objective"] or 0.0),
                row["number"],
            )
        )
        counts = ", ".join(
            f"{count} {status.replace('_', ' ')}" for status, count in status_counts(rows).items()
        )
        state, is_running = str(study.status), study.status is StudyStatus.RUNNING
        if is_running and not is_held(run):
            state, is_running = f"killed (`python -m tune resume {run.location}` continues)", False
        n_asked = study.arguments.get("trials", "?")
        summary = f"{study.name}: {state}, {counts or 'no trials yet'} of {n_asked}"
        if study.end_reason:
            summary += f": {study.end_reason}"
        return cls(summary, is_running, rows, objective, study.max_epochs)

    def view(self, console: Console) -> RenderableType:
        """Return every trial, those with the full budget first, the best of them on top."""
        return self._view(self.rows, console)

    def live(self, console: Console) -> RenderableType:
        """Return what fits on the terminal: the trials that run, and as many of the best as there is room."""
        running = [row for row in self.rows if row["status"] == TrialStatus.RUNNING]
        room = max(console.height - len(running) - 4, 1)
        best = [row for row in self.rows if row["status"] != TrialStatus.RUNNING][:room]
        shown = {row["number"] for row in (*running, *best)}
        return self._view([row for row in self.rows if row["number"] in shown], console)

    def _view(self, rows: list[dict[str, Any]], console: Console) -> RenderableType:
        completed = [row for row in self.rows if row["status"] == TrialStatus.COMPLETED]
        best = self.objective.best(completed or self.rows)
        table = trial_table(rows, self.objective, max_epochs=self.max_epochs, best=best, width=console.width)
        return Group(Text(self.summary), table)
