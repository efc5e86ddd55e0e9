"""One process at a time where two would spoil each other's work.

A driver holds two files of its run directory. The first, `.lock`, keeps other drivers out, and only drivers
take it. The second, `.driver`, is for whoever wants to know whether a driver is at work: such a process takes
it for an instant, shared, so that it neither keeps a driver out nor looks like one to another.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import filelock

from tune.storage.lease import hold_lease, is_leased
from tune.storage.run_directory import RunDirectory
from vae.errors import StorageError, UsageError

WAIT_FOR_PROBES_S = 10.0
"""How long a driver waits for processes that look whether one is at work; each needs less than a ms."""


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
    """Hold a run directory as its driver, visible to `is_held`.

    Raises
    ------
    UsageError
        Another driver is at work there.
    StorageError
        The directory cannot be written.
    """

    def busy() -> str:
        return (
            f"another process is at work on {run.location}{_holder(run)}; wait for it, or watch it with "
            f"`python -m tune status {run.location}`"
        )

    with exclusive(run, run.lock_file, busy), _presence(run) if run.mirror is None else nullcontext():
        yield


def is_held(run: RunDirectory) -> bool:
    """Whether a driver is at work on a run directory; it may be read-only.

    One that an older version of this program has made has no file `.driver` and counts as not held.
    """
    if run.mirror is not None:
        return is_leased(run.mirror, run.lock_file)
    try:
        file = os.open(run.driver_file, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:  # not readable for us: somebody else's study
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)  # which unlocks it
    return False


@contextmanager
def _presence(run: RunDirectory) -> Iterator[None]:
    """Hold the file by which `is_held` sees a driver, as soon as nobody probes it."""
    lock = filelock.FileLock(run.driver_file)
    try:
        lock.acquire(timeout=WAIT_FOR_PROBES_S, poll_interval=0.005)
    except filelock.Timeout as error:
        raise StorageError(
            f"cannot lock {run.driver_file}: another process has held it for {WAIT_FOR_PROBES_S:.0f} s; "
            "end that one, or try again"
        ) from error
    except OSError as error:
        raise StorageError(f"cannot write {run.driver_file}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def _holder(run: RunDirectory) -> str:
    try:
        session: dict[str, Any] = run.read_study().sessions[-1]
        return f" (process {session['pid']} on {session['host']}, since {session['started_at']})"
    except (StorageError, LookupError, TypeError):  # absent, or not what we write
        return ""
