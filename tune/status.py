"""`python -m tune status RUN`: the trials of a study from its files, while it runs or afterwards."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from tune.algorithms.objective import MODES, Objective
from tune.callbacks.progress import status_counts, trial_table
from tune.storage.lock import is_held
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyStatus
from tune.storage.tables import read_table
from tune.storage.trial_status import TrialStatus

LOOK_EVERY_S = 1.0
LOOK_WITHOUT_TERMINAL_EVERY_S = 5.0


def print_status(run: RunDirectory, console: Console) -> None:
    """Print the trials of a study, best first.

    Raises
    ------
    StorageError
        A file of the run directory is missing or damaged.
    """
    status = _Status.read(run)
    console.print(status.summary)
    console.print(status.table(status.rows, console.width))


def watch_status(run: RunDirectory, console: Console, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show the trials of a study until it ends: a live table on a terminal, a line at each change elsewhere.

    Raises
    ------
    StorageError
        A file of the run directory is missing or damaged.
    """
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while (status := _Status.read(run)).is_running:
                live.update(status.view(console), refresh=True)
                sleep(LOOK_EVERY_S)
    else:
        shown = None
        while (status := _Status.read(run)).is_running:
            if status.summary != shown:
                shown = status.summary
                console.print(shown)
            sleep(LOOK_WITHOUT_TERMINAL_EVERY_S)
    print_status(run, console)


@dataclass(frozen=True, slots=True)
class _Status:
    """What the files of a study say at one moment; ``rows`` are its trials, best first."""

    summary: str
    is_running: bool
    rows: list[dict[str, Any]]
    objective: Objective
    max_epochs: int

    @classmethod
    def read(cls, run: RunDirectory) -> "_Status":
        if run.mirror:
            run.mirror.fetch(run.path, again=True)
        study = run.read_study()
        name = study.objectives[0]
        objective = Objective(name, MODES[name])
        rows = read_table(run.trials_file).to_pylist() if run.trials_file.exists() else []
        rows.sort(
            key=lambda row: (
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
        summary = f"{study.name}: {state}, {counts or 'no trials yet'} of {study.arguments['trials']}"
        if study.end_reason:
            summary += f": {study.end_reason}"
        return cls(summary, is_running, rows, objective, study.max_epochs)

    def table(self, rows: list[dict[str, Any]], width: int) -> RenderableType:
        best = self.objective.best(self.rows)
        return trial_table(rows, self.objective, max_epochs=self.max_epochs, best=best, width=width)

    def view(self, console: Console) -> RenderableType:
        """Return what fits on the terminal: the trials that run, and as many of the best as there is room."""
        running = [row for row in self.rows if row["status"] == TrialStatus.RUNNING]
        room = max(console.height - len(running) - 4, 1)
        best = [row for row in self.rows if row["status"] != TrialStatus.RUNNING][:room]
        shown = {row["number"] for row in (*running, *best)}
        rows = [row for row in self.rows if row["number"] in shown]
        return Group(Text(self.summary), self.table(rows, console.width))
