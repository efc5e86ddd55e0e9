"""What trials leave in Ray's directory: checkpoints, with the best epoch's model and all results so far.

Each run of Tune has a directory of its own there, `ray/` the first and `ray/session-2/` the next, so that a
worker that outlives its driver for a moment cannot write into what the next one reads.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from evaluation.run_directory import RunDirectory
from vae.atomic import write_text
from vae.checkpoint import MODEL_FILE, read_tensors
from vae.errors import StorageError
from vae.state import STATE_FILE

BEST_DIR = "best"
"""Inside a checkpoint: the model of the best epoch so far, beside the state of the last."""

HISTORY_FILE = "history.json"
"""Inside a checkpoint: what the trial reported at each epoch, for the case that its driver dies."""


@dataclass(frozen=True, slots=True)
class TrialCheckpoint:
    """A checkpoint that is whole: its state is that of the last epoch in ``history``."""

    path: Path
    history: list[dict[str, Any]]


def new_session_dir(run: RunDirectory) -> Path:
    """Return where Tune keeps what it does next; it is not there yet."""
    later = (run.ray_dir / f"session-{number}" for number in count(2))
    return next(path for path in chain([run.ray_dir], later) if not path.exists())


def write_history(directory: Path, history: list[dict[str, Any]]) -> None:
    """Write a trial's results into the directory that becomes its checkpoint."""
    write_text(json.dumps(history), directory / HISTORY_FILE)


def read_history(directory: Path) -> list[dict[str, Any]]:
    """Return what `write_history` wrote.

    Raises
    ------
    OSError, ValueError
        The file is not there, or not whole.
    """
    history: list[dict[str, Any]] = json.loads((directory / HISTORY_FILE).read_text())
    return history


def newest_checkpoint(run: RunDirectory, trial_id: str) -> TrialCheckpoint | None:
    """Return the whole checkpoint of the latest epoch of a trial; one may be half written."""
    found = [checkpoint for path in _checkpoint_dirs(run, trial_id) if (checkpoint := _whole(path))]
    return max(found, key=lambda checkpoint: len(checkpoint.history), default=None)


def keep_best(run: RunDirectory, trial_id: str, epoch: int | None) -> bool:
    """Copy the model of a trial's best epoch to ``checkpoints/``; False if there is none.

    The copy is absent or whole. When the end comes between a report and its processing, Tune does not know
    the newest checkpoint yet; so they are taken from where the trial put them, and looked into.
    """
    target = run.checkpoint_dir(trial_id)
    if _model_epoch(target) == epoch is not None:
        return True
    for checkpoint in _checkpoint_dirs(run, trial_id):
        if epoch is None or _model_epoch(checkpoint / BEST_DIR) != epoch:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as temporary:
            copy = shutil.copytree(checkpoint / BEST_DIR, Path(temporary) / target.name)
            if target.exists():
                shutil.rmtree(target)
            copy.rename(target)
            return True
    return False


def _checkpoint_dirs(run: RunDirectory, trial_id: str) -> Iterator[Path]:
    for pattern in (f"{trial_id}/checkpoint_*", f"session-*/{trial_id}/checkpoint_*"):
        yield from sorted(run.ray_dir.glob(pattern), reverse=True)


def _whole(path: Path) -> TrialCheckpoint | None:
    try:
        history = read_history(path)
        state_epoch = read_tensors(path / STATE_FILE)[1]["epoch"]
    except (OSError, ValueError, KeyError, StorageError):
        return None
    best = _model_epoch(path / BEST_DIR)
    if [row.get("epoch") for row in history] != list(range(1, state_epoch + 1)):
        return None
    return TrialCheckpoint(path, history) if best == _best_epoch(history) else None


def _best_epoch(history: list[dict[str, Any]]) -> int | None:
    return next((row["epoch"] for row in reversed(history) if row["is_best"]), None)


def _model_epoch(directory: Path) -> int | None:
    try:
        return read_tensors(directory / MODEL_FILE)[1].get("epoch")
    except StorageError:
        return None
