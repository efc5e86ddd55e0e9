"""A Tune callback that keeps of each trial the newest checkpoint.

With ``num_to_keep``, Tune would write a snapshot of the whole search after each checkpoint. It serves a way
to restore that this project does not use, and takes longer with every trial.
"""

import shutil
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial


class KeepLatestCheckpoint(Callback):
    """Deletes a checkpoint as soon as Tune knows the trial's next one."""

    def __init__(self) -> None:
        self._kept: dict[str, Path] = {}

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        if trial.checkpoint is None:
            return
        newest = Path(trial.checkpoint.path)
        older = self._kept.get(trial.trial_id)
        if older is not None and older != newest:
            shutil.rmtree(older, ignore_errors=True)
        self._kept[trial.trial_id] = newest
