"""The live view of a search, a Tune callback: a table on a terminal, a line in a notebook, or lines."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.logging import RichHandler
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tune.algorithms.objective import Objective
from tune.callbacks.driver_callback import DriverCallback
from tune.callbacks.pace import Pace
from tune.space.display import SHOWN_PARAMS, value_text
from tune.storage.tables import CONFIG_PREFIX
from tune.storage.trial_status import TrialStatus
from tune.study.study_tables import StudyTables
from vae.command_line import plain_console
from vae.config import epochs_text
from vae.progress import CellLine

DRAW_EVERY_S = 0.5
PRINT_EVERY_S = 30.0
"""Where there is no terminal there is at most one line in so many seconds, without news."""
PRINT_NEWS_EVERY_S = 5.0
"""The same with news: a trial has ended, or there is a new best."""
FILE_WIDTH = 140  # of a table that goes to a file or a pipe

STYLES = {
    TrialStatus.COMPLETED: "green",
    TrialStatus.STOPPED_EARLY: "yellow",
    TrialStatus.FAILED: "red",
    TrialStatus.RUNNING: "cyan",
    TrialStatus.PENDING: "dim",
}
Row = Mapping[str, Any]


def make_console() -> Console:
    """Return a console on stdout; without a terminal nothing is wrapped at 80 columns."""
    console = plain_console()
    return console if console.is_terminal else plain_console(soft_wrap=True, width=FILE_WIDTH)


class Progress(DriverCallback):
    """Shows the trials so far; use as a context manager around the search.

    Where there is no terminal a line is printed when a trial has ended or there is a new best, else when some
    have reported, and not too often.

    Parameters
    ----------
    tables
        The trials.
    n_trials
        How many there will be.
    console
        Where they are shown.
    slots
        How many can run at once.
    """

    every_s = DRAW_EVERY_S

    def __init__(
        self,
        tables: StudyTables,
        *,
        n_trials: int,
        console: Console,
        slots: Callable[[], int] = lambda: 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock=clock)
        self.tables = tables
        self.n_trials = n_trials
        self.console = console
        self.slots = slots
        self._started = clock()
        self._images_before = 0
        self._printed: tuple[object, object] = None, None
        self._printed_at = -math.inf
        self._live: Live | None = None
        self._cell = CellLine() if console.is_jupyter else None
        self._handlers: list[logging.Handler] = []

    def __enter__(self) -> Self:
        self._started = self._clock()
        self._images_before = self._n_images()
        self._printed = self._news(), self._state()
        if self.console.is_terminal:
            self._live = Live(self._view(), console=self.console, auto_refresh=False, transient=True)
            self._live.start()
            # Log lines must go through the same console, or they tear the table.
            root = logging.getLogger()
            self._handlers = root.handlers[:]
            through = RichHandler(
                console=self.console, show_path=False, show_level=False, markup=False, log_time_format="%X"
            )
            files = [handler for handler in self._handlers if isinstance(handler, logging.FileHandler)]
            root.handlers[:] = [through, *files]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            logging.getLogger().handlers[:] = self._handlers
        self._show_line()

    def update(self) -> None:
        """Draw the table or the cell anew, or print a line if it is time and there is news."""
        if self._live is not None:
            self._live.update(self._view(), refresh=True)
        elif self._cell is not None:
            self._show_line()
        else:
            seen = self._news(), self._state()
            every_s = PRINT_EVERY_S if seen[0] == self._printed[0] else PRINT_NEWS_EVERY_S
            if seen != self._printed and self._clock() - self._printed_at >= every_s:
                self._printed, self._printed_at = seen, self._clock()
                self.console.print(self._line())

    def _news(self) -> object:
        """Return what is worth a line at once when it changes: how many trials have ended, and the best."""
        best = self.tables.best()
        _, ended = self._counts(list(self.tables.trials.values()))
        return ended, best and (best["trial_id"], best["objective"])

    def _state(self) -> object:
        """Return what is worth a line after a while when it changes."""
        return status_counts(self.tables.trials.values()), self._n_images()

    def _n_images(self) -> int:
        return sum(row["images"] for row in self.tables.trials.values())

    def _show_line(self) -> None:
        if self._cell is None:
            self.console.print(self._line())
        else:
            self._cell.show(self._line())

    def _pace(self) -> Pace:
        return Pace.estimate(
            self.tables.trials.values(),
            n_trials=self.n_trials,
            reports=self.tables.budget.reports,
            elapsed_s=self._clock() - self._started,
            slots=self.slots(),
            images_before=self._images_before,
        )

    def _counts(self, rows: list[dict[str, Any]]) -> tuple[Counter[str], int]:
        """Return the trials by status, those not yet proposed as pending, and how many have ended."""
        counts = status_counts(rows)
        ended = sum(
            counts[status]
            for status in (TrialStatus.COMPLETED, TrialStatus.STOPPED_EARLY, TrialStatus.FAILED)
        )
        counts[TrialStatus.PENDING] = self.n_trials - ended - counts[TrialStatus.RUNNING]
        return counts, ended

    def _line(self) -> str:
        rows, best = list(self.tables.trials.values()), self.tables.best()
        counts, ended = self._counts(rows)
        parts = [f"{ended}/{self.n_trials} trials ({_count_text(counts)})", str(self._pace())]
        if best is not None:
            parts.append(f"best {best['objective']:.4f} {best['trial_id']}")
        return " · ".join(parts)

    def _view(self) -> RenderableType:
        rows, best = list(self.tables.trials.values()), self.tables.best()
        counts, ended = self._counts(rows)
        head = Table.grid(padding=(0, 2))
        head.add_row(
            ProgressBar(total=self.n_trials, completed=ended, width=30),
            f"{ended}/{self.n_trials} trials",
            str(self._pace()),
        )
        running = [row for row in rows if row["status"] == TrialStatus.RUNNING]
        shown = running if best is None or best in running else [best, *running]
        table = trial_table(
            shown,
            self.tables.objective,
            max_epochs=self.tables.budget.max_epochs,
            best=best,
            width=self.console.width,
        )
        return Group(Text(""), head, _count_line(counts), Text(""), table)


def trial_table(
    rows: Iterable[Row], objective: Objective, *, max_epochs: float, best: Row | None, width: int
) -> Table:
    """Return a table of trials, the best one marked; a narrow one shows fewer hyperparameters."""
    params = SHOWN_PARAMS[: len(SHOWN_PARAMS) if width >= 125 else 3 if width >= 90 else 0]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("trial", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for name in params:
        short = name.replace("reconstruction_", "").replace("_dim", "")
        table.add_column(short, justify="right", no_wrap=True)
    table.add_column("epoch", justify="right", no_wrap=True)
    table.add_column(objective.name, justify="right", no_wrap=True)
    for row in rows:
        is_best = best is not None and row["trial_id"] == best["trial_id"]
        status = row["status"].replace("_", " ") + (f" ({row['stop_reason']})" if row["stop_reason"] else "")
        table.add_row(
            Text("★", style="bold yellow") if is_best else "",
            row["trial_id"],
            Text(status, style=STYLES[row["status"]]),
            *(value_text(row[CONFIG_PREFIX + name]) for name in params),
            f"{epochs_text(row['epochs'] or 0)}/{epochs_text(max_epochs)}",
            "–" if row["objective"] is None else f"{row['objective']:.4f}",
            style="bold" if is_best else None,
        )
    return table


def status_counts(rows: Iterable[Row]) -> Counter[str]:
    """Count trials by status."""
    return Counter(row["status"] for row in rows)


def _count_text(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[s]} {s.replace('_', ' ')}" for s in STYLES if counts[s]) or "none yet"


def _count_line(counts: Counter[str]) -> Text:
    line = Text()
    for status, style in STYLES.items():
        line.append(f"{counts[status]} ", style=f"bold {style}").append(
            f"{status.replace('_', ' ')}   ", style=style
        )
    return line
