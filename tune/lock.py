"""One driver at a time for a run directory; the system frees the lock of a holder that died."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from evaluation.claim import is_claimed
from evaluation.lock import exclusive
from evaluation.run_directory import RunDirectory
from vae.errors import StorageError, UserError


@contextmanager
def driver_lock(run: RunDirectory) -> Iterator[None]:
    """Hold the lock of a run directory.

    Raises
    ------
    UserError
        Another driver is at work there.
    StorageError
        The directory cannot be written.
    """
    with exclusive(
        run,
        run.lock_file,
        lambda: (
            f"another process is at work on {run.address}{_holder(run)}; wait for it, or watch it with "
            f"`python -m tune status {run.address}`"
        ),
    ):
        yield


def is_held(run: RunDirectory) -> bool:
    """Whether a driver is at work on a run directory."""
    if run.remote is not None:
        return is_claimed(run.remote, run.lock_file)
    try:
        with driver_lock(run):
            return False
    except UserError:
        return True
    except StorageError:  # read-only for us: somebody else's study
        return True


def _holder(run: RunDirectory) -> str:
    try:
        session: dict[str, Any] = run.read_study()["sessions"][-1]
        return f" (process {session['pid']} on {session['host']}, since {session['started_at']})"
    except (StorageError, LookupError):
        return ""
