"""One process at a time where two would spoil each other's work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from vae.errors import StorageError, UserError


@contextmanager
def exclusive(file: Path, busy: Callable[[], str]) -> Iterator[None]:
    """Hold a lock file; the system frees that of a holder that died.

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
        yield
    finally:
        lock.release()
