"""One process at a time where two would spoil each other's work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from evaluation.claim import claimed
from evaluation.run_directory import RunDirectory
from vae.errors import StorageError, UserError


@contextmanager
def exclusive(run: RunDirectory, file: Path, busy: Callable[[], str]) -> Iterator[None]:
    """Hold a lock file of a run; the system frees that of a holder that died.

    Under a URI, where there are no locks, `claimed` does what is possible.

    Raises
    ------
    UserError
        Another process holds it; ``busy`` says so.
    StorageError
        The file cannot be written.
    """
    lock = filelock.FileLock(file)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise UserError(busy()) from error
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror}") from error
    try:
        if run.remote is None:
            yield
        else:
            with claimed(run.remote, file, busy()):
                yield
    finally:
        lock.release()
