"""What trials write into Ray's directory: checkpoints, with the best model and all results so far.

Each run of Tune has a directory of its own there, `ray/` the first and `ray/session-2/` the next, so that a
worker that outlives its driver for a moment cannot write into what the next one reads.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from tune.storage.mirror import Mirror
from tune.storage.run_directory import RunDirectory
from tune.storage.trial_status import TIME_ATTR
from vae.atomic import replaced_directory, write_text
from vae.checkpoint import CONFIG_FILE, MODEL_FILE, read_config, read_header, read_tensors
from vae.errors import StorageError
from vae.training.state import STATE_FILE

BEST_DIR = "best"
"""Inside a checkpoint: the best model so far, beside the state of the last report."""

CHECKPOINT = "checkpoint_"
"""How the name of a checkpoint's directory begins."""

OLD_SEEDS_DIR = "seeds"
"""Inside a kept checkpoint: where an older version kept the models of a finalist's fresh seeds."""

HISTORY_FILE = "history.json"
"""Inside a checkpoint: all that the trial reported, for the case that its driver dies."""


class CheckpointUnreachable(StorageError):
    """A checkpoint could not be written or read where the study lies; the trial itself has not failed."""


@dataclass(frozen=True, slots=True)
class TrialCheckpoint:
    """A complete checkpoint: its state is that of the last report in ``history``."""

    location: str
    """Its path, of a run under a URI that on its filesystem."""
    history: list[dict[str, Any]]


def new_session_dir(run: RunDirectory) -> Path:
    """Return a directory for the next run of Tune; it does not exist yet."""
    later = (run.ray_dir / f"session-{number}" for number in count(2))
    return next(path for path in chain([run.ray_dir], later) if not _is_taken(run, path))


def _is_taken(run: RunDirectory, path: Path) -> bool:
    return path.exists() or (run.mirror is not None and run.mirror.exists(path))


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
    """Return the latest complete checkpoint of a trial; a later one may be half written."""
    found = [
        TrialCheckpoint(run.mirror.remote_path(path) if run.mirror else str(path), history)
        for path in _checkpoint_dirs(run, trial_id)
        if (history := whole_history(path)) is not None
    ]
    return max(found, key=lambda checkpoint: len(checkpoint.history), default=None)


def keep_best(run: RunDirectory, trial_id: str, epoch: float | None) -> bool:
    """Copy the best model of a trial, of that epoch, to ``checkpoints/``; False if there is none.

    The copy is absent or whole. If the search ends between a report and its processing, Tune does not know
    the newest checkpoint yet; so the trial's directory is searched for it.
    """
    target = run.checkpoint_dir(trial_id)
    if run.mirror:
        return _keep_best_remotely(run, run.mirror, trial_id, epoch)
    if _model_epoch(target) == epoch is not None:
        return True
    for checkpoint in _checkpoint_dirs(run, trial_id):
        if epoch is None or _model_epoch(checkpoint / BEST_DIR) != epoch:
            continue
        with replaced_directory(target) as staging:
            shutil.copytree(checkpoint / BEST_DIR, staging, dirs_exist_ok=True)
            if (target / OLD_SEEDS_DIR).is_dir():
                shutil.copytree(target / OLD_SEEDS_DIR, staging / OLD_SEEDS_DIR)
        return True
    return False


def _keep_best_remotely(run: RunDirectory, remote: Mirror, trial_id: str, epoch: float | None) -> bool:
    """Do the same under a URI, where the history says which checkpoint is whole, without fetching models."""
    target = run.checkpoint_dir(trial_id)
    for checkpoint in _remote_checkpoint_dirs(run, remote, trial_id):
        names = {info.base_name for info in remote.list(checkpoint / BEST_DIR)}
        if not {CONFIG_FILE, MODEL_FILE} <= names or not remote.exists(checkpoint / HISTORY_FILE):
            continue
        if epoch is not None and _best_epoch(json.loads(remote.read(checkpoint / HISTORY_FILE))) == epoch:
            for name in (CONFIG_FILE, MODEL_FILE):
                remote.copy(checkpoint / BEST_DIR / name, target / name)
            return True
    run.fetch(target)
    return _model_epoch(target) == epoch is not None


def _remote_checkpoint_dirs(run: RunDirectory, remote: Mirror, trial_id: str) -> Iterator[Path]:
    sessions = [info.base_name for info in remote.list(run.ray_dir) if info.base_name.startswith("session-")]
    for session in ["", *sessions]:
        directory = run.ray_dir / session / trial_id
        found = [info.base_name for info in remote.list(directory)]
        yield from (directory / name for name in reversed(found) if name.startswith(CHECKPOINT))


def _checkpoint_dirs(run: RunDirectory, trial_id: str) -> Iterator[Path]:
    """Yield a trial's checkpoints; under a URI copies of them, each deleted before the next is fetched."""
    if run.mirror:
        for path in _remote_checkpoint_dirs(run, run.mirror, trial_id):
            run.fetch(path)
            yield path
            shutil.rmtree(path, ignore_errors=True)
        return
    for pattern in (f"{trial_id}/{CHECKPOINT}*", f"session-*/{trial_id}/{CHECKPOINT}*"):
        yield from sorted(run.ray_dir.glob(pattern), reverse=True)


def whole_history(path: Path) -> list[dict[str, Any]] | None:
    """Return the history of a checkpoint, None if that is half written."""
    try:
        history = read_history(path)
        state = read_tensors(path / STATE_FILE)[1]
    except (OSError, ValueError, KeyError, StorageError):
        return None
    if not (isinstance(history, list) and all(isinstance(row, dict) for row in history)):
        return None
    best = _model_epoch(path / BEST_DIR)
    unit = TIME_ATTR if state.get("images") is not None else "epoch"  # in which an older version counted
    if not history or history[-1].get(unit) != state.get(unit):
        return None
    return history if best == _best_epoch(history) else None


def _best_epoch(history: list[dict[str, Any]]) -> float | None:
    return next((row.get("epoch") for row in reversed(history) if row.get("is_best")), None)


def _model_epoch(directory: Path) -> float | None:
    """Return the epoch of a model; None if there is none, or not all of it."""
    try:
        read_config(directory)
        epoch: float | None = read_header(directory / MODEL_FILE).get("epoch")
    except StorageError:
        return None
    return epoch
