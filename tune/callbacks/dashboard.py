"""A Tune callback that keeps the study's entry among the jobs of Ray's dashboard: the best so far."""

import math
import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from tune.callbacks.recorder import Recorder
from tune.cluster.dashboard_job import update_job
from tune.storage.study_record import StudyRecord
from tune.storage.trial_status import PENDING, RUNNING

UPDATE_EVERY_S = 3.0


class DashboardCallback(Callback):
    """Tells Ray what the recorder knows.

    Parameters
    ----------
    recorder
        Of the search.
    record
        `study.json`.
    """

    def __init__(
        self,
        recorder: Recorder,
        record: StudyRecord,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.recorder = recorder
        self.record = record
        self._clock = clock
        self._updated_at = -math.inf
        self._message: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks with the experiment; nothing reads that

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self._clock() - self._updated_at >= UPDATE_EVERY_S:
            self.update()

    def update(self) -> None:
        """Write the entry if something has changed."""
        self._updated_at = self._clock()
        metadata = job_metadata(self.recorder, self.record)
        message = f"best {metadata['best']}, {metadata['trials']} trials ended"
        if message != self._message:
            self._message = message
            update_job(message, metadata)


def job_metadata(recorder: Recorder, record: StudyRecord) -> dict[str, str]:
    """Return what the dashboard shows of a study; Ray wants text."""
    rows, best = recorder.trials.values(), recorder.best()
    ended = sum(row["status"] not in (PENDING, RUNNING) for row in rows)
    return {
        "study": record.name,
        "dataset": record.dataset.name,
        "objective": " and ".join(objective.name for objective in recorder.objectives),
        "trials": f"{ended} of {record.arguments['trials']}",
        "best": "none yet" if best is None else f"{best['objective']:.4f} by {best['trial_id']}",
    }
