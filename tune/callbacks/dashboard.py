"""A Tune callback that keeps the study's entry among the jobs of Ray's dashboard: the best so far."""

import time
from collections.abc import Callable

from tune.callbacks.driver_callback import DriverCallback
from tune.cluster.dashboard_job import update_job
from tune.storage.study_record import StudyRecord
from tune.storage.trial_status import TrialStatus
from tune.study.study_tables import StudyTables


class DashboardCallback(DriverCallback):
    """Shows the state of the search there, every few seconds.

    Parameters
    ----------
    tables
        The trials so far.
    record
        `study.json`.
    """

    every_s = 3.0

    def __init__(
        self,
        tables: StudyTables,
        record: StudyRecord,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock=clock)
        self.tables = tables
        self.record = record
        self._message: str | None = None

    def update(self) -> None:
        """Write the entry if something has changed."""
        metadata = job_metadata(self.tables, self.record)
        message = f"best {metadata['best']}, {metadata['trials']} trials ended"
        if message != self._message:
            self._message = message
            update_job(message, metadata)


def job_metadata(tables: StudyTables, record: StudyRecord) -> dict[str, str]:
    """Return what the dashboard shows of a study; Ray wants text."""
    rows, best = tables.trials.values(), tables.best()
    ended = sum(row["status"] not in (TrialStatus.PENDING, TrialStatus.RUNNING) for row in rows)
    return {
        "study": record.name,
        "dataset": record.dataset.name,
        "objective": " and ".join(objective.name for objective in tables.objectives),
        "trials": f"{ended} of {record.arguments['trials']}",
        "best": "none yet" if best is None else f"{best['objective']:.4f} by {best['trial_id']}",
    }
