"""`python -m tune status FOLDER`: the studies in a folder, one line each, the newest first."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from pyarrow import fs
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tune.algorithms.objective import METRIC_NAMES
from tune.space.display import duration_text, percent
from tune.storage.filesystems import join, parse_location
from tune.storage.lock import is_held
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord, StudyStatus
from tune.storage.tables import TRIALS, read_rows
from tune.storage.trial_status import TrialStatus
from tune.study.ranking import best_first, full_budget_trials
from vae.errors import Error, StorageError, UsageError, one_line

KILLED = "killed"
STYLES = {
    StudyStatus.RUNNING: "cyan",
    StudyStatus.COMPLETED: "green",
    StudyStatus.PLATEAU: "green",
    StudyStatus.FAILED: "red",
    KILLED: "red",
}
"""Of what a study is doing; what ended early is yellow."""
_AT_ONCE = 16
"""Studies that are read side by side: under a URI each waits for its storage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyLine:
    """What is shown of one study."""

    name: str
    """Of its directory, which may not be the one that the study was given."""
    dataset: str
    state: str
    trials: str
    """How many have ended, and of how many."""
    validation: str
    """The first objective of the best trial with the full budget; its name, if it is not the KNN accuracy."""
    test: str
    """KNN accuracy of the best finalist on the test set."""
    changed: float
    """When the study ended or else its tables were written, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The studies of a folder at one moment, the newest first; and what else lies there."""

    location: str
    lines: list[StudyLine]
    damaged: list[str]
    foreign: list[str]
    """Folders without a study."""

    @property
    def is_running(self) -> bool:
        """Whether a driver is at work on one of them."""
        return any(line.state == StudyStatus.RUNNING for line in self.lines)

    @property
    def summary(self) -> str:
        running = [f"{line.name} {line.trials}" for line in self.lines if line.state == StudyStatus.RUNNING]
        return f"{self.location}: {len(self.lines)} studies, running: {', '.join(running) or 'none'}"

    def view(self, console: Console, n_lines: int | None = None) -> RenderableType:
        """Return the table, of at most so many studies, and a line for each damaged one."""
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("study", "data"):
            table.add_column(heading)  # these alone are shortened where the terminal is narrow
        for heading in ("state", "trials", "validation", "test", "changed"):
            table.add_column(heading, justify="left" if heading == "state" else "right", no_wrap=True)
        now = time.time()
        for line in self.lines[:n_lines]:
            table.add_row(
                *(Text(text, no_wrap=True, overflow="ellipsis") for text in (line.name, line.dataset)),
                Text(line.state.replace("_", " "), style=STYLES.get(line.state, "yellow")),
                *(line.trials, line.validation, line.test),
                f"{duration_text(max(0.0, now - line.changed))} ago",
            )
        below = [*self.damaged, f"no study: {', '.join(self.foreign)}"] if self.foreign else self.damaged
        return Group(table, *(Text(text, style="dim", no_wrap=True, overflow="ellipsis") for text in below))

    def live(self, console: Console) -> RenderableType:
        """Return what fits on the terminal."""
        n_below = len(self.damaged) + bool(self.foreign)
        return self.view(console, max(1, console.height - n_below - 2))


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """A folder of studies, on disk or under a URI.

    Parameters
    ----------
    folder
        As `RunDirectory.resolve` gives it.
    test_accuracy
        Returns the KNN accuracy of the best finalist of a study on the test set; None if it is not known.
    """

    folder: RunDirectory
    test_accuracy: Callable[[RunDirectory], float | None]
    _runs: dict[str, RunDirectory] = field(default_factory=dict)

    def read(self) -> Overview:
        """Look at every study.

        Raises
        ------
        UsageError
            There is none.
        StorageError
            The folder cannot be read.
        """
        location, names = self.folder.location, self._names()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = dict(zip(names, pool.map(self._look, names), strict=True))
        lines = [line for line in found.values() if isinstance(line, StudyLine)]
        damaged = [f"{name}: {text}" for name, text in found.items() if isinstance(text, str)]
        if not (lines or damaged):
            raise UsageError(
                f"{location} is not a run directory, and no folder in it is one: there is no study.json"
            )
        lines.sort(key=lambda line: -line.changed)
        return Overview(location, lines, damaged, [name for name, line in found.items() if line is None])

    def _names(self) -> list[str]:
        """Return the folders that may be studies, by name."""
        mirror, path = self.folder.mirror, self.folder.path
        try:
            if mirror is not None:
                found = [i.base_name for i in mirror.list(path) if i.type == fs.FileType.Directory]
            else:
                found = sorted(each.name for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
        except OSError as error:
            raise StorageError(f"cannot read {self.folder.location}: {error.strerror}") from error
        return [name for name in found if not name.startswith(".")]

    def _look(self, name: str) -> StudyLine | str | None:
        """Return what is shown of a study, or what is wrong with it; None if the folder is none."""
        try:
            run = self._run(name)
            if not run.study_file.is_file():
                return None
            return self._line(name, run)
        except (Error, OSError) as error:
            return one_line(error)
        except (LookupError, TypeError, ValueError) as error:  # not what we write
            return f"its files are damaged or of another version ({one_line(error)})"

    def _run(self, name: str) -> RunDirectory:
        """Return a study with those files, as they are now, that an overview needs."""
        of = self.folder
        files = of.study_file, of.trials_file, of.finalist_seeds_file, of.evaluation_file, of.evaluations_file
        needed = [file.name for file in files]
        if name not in self._runs:
            location = join(parse_location(of.location), name)
            self._runs[name] = RunDirectory.resolve(location, names=needed)
        elif (mirror := self._runs[name].mirror) is not None:
            mirror.fetch(self._runs[name].path, again=True, names=needed)
        return self._runs[name]

    def _line(self, name: str, run: RunDirectory) -> StudyLine:
        record = run.read_study()
        rows = read_rows(run.trials_file, TRIALS) if run.trials_file.exists() else []
        ended = [row for row in rows if row["status"] not in (TrialStatus.RUNNING, TrialStatus.PENDING)]
        ranked = best_first(full_budget_trials(rows, record), record.mode)
        killed = record.status is StudyStatus.RUNNING and not is_held(run)
        return StudyLine(
            name=name,
            dataset=record.dataset.name or "–",
            state=KILLED if killed else record.status,
            trials=f"{len(ended)}/{record.arguments.get('trials', '?')}",
            validation=_objective_text(record.objectives[0], ranked[0]["objective"]) if ranked else "–",
            test=self._test(run),
            changed=_changed(run, record),
        )

    def _test(self, run: RunDirectory) -> str:
        try:
            found = self.test_accuracy(run)
        except Error:
            return "damaged"
        return "–" if found is None else percent(found)


def _objective_text(name: str, value: float) -> str:
    if name == "val_knn_accuracy":
        return percent(value)
    return f"{METRIC_NAMES.get(name, name)} {value:.4g}"


def _changed(run: RunDirectory, record: StudyRecord) -> float:
    if record.status is not StudyStatus.RUNNING and record.finished_at:
        return datetime.fromisoformat(record.finished_at).timestamp()
    return max(file.stat().st_mtime for file in (run.study_file, run.trials_file) if file.exists())
