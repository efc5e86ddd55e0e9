"""One process at a time where two would spoil each other's work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from tune.storage.lease import hold_lease, is_leased
from tune.storage.run_directory import RunDirectory
from vae.errors import StorageError, UsageError


@contextmanager
def exclusive(run: RunDirectory, file: Path, busy: Callable[[], str]) -> Iterator[None]:
    """Hold a lock file of a run; the system frees that of a holder that died.

    Under a URI, where there are no locks, `hold_lease` does what is possible.

    Raises
    ------
    UsageError
        Another process holds it; ``busy`` says so.
    StorageError
        The file cannot be written.
    """
    lock = filelock.FileLock(file)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise UsageError(busy()) from error
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror}") from error
    try:
        if run.mirror is None:
            yield
        else:
            with hold_lease(run.mirror, file, busy()):
                yield
    finally:
        lock.release()


@contextmanager
def driver_lock(run: RunDirectory) -> Iterator[None]:
    """Hold the lock of a run directory.

    Raises
    ------
    UsageError
        Another driver is at work there.
    StorageError
        The directory cannot be written.
    """
    with exclusive(
        run,
        run.lock_file,
        lambda: (
            f"another process is at work on {run.location}{_holder(run)}; wait for it, or watch it with "
            f"`python -m tune status {run.location}`"
        ),
    ):
        yield


def is_held(run: RunDirectory) -> bool:
    """Whether a driver is at work on a run directory."""
    if run.mirror is not None:
        return is_leased(run.mirror, run.lock_file)
    try:
        with driver_lock(run):
            return False
    except UsageError:
        return True
    except StorageError:  # read-only for us: somebody else's study
        return True


def _holder(run: RunDirectory) -> str:
    try:
        session: dict[str, Any] = run.read_study().sessions[-1]
        return f" (process {session['pid']} on {session['host']}, since {session['started_at']})"
    except (StorageError, LookupError):
        return ""
