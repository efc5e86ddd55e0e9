"""The errors of this project; the message of each is one line: the value, the rule, the way out.

::

    Error
    ├── UsageError      a wrong argument, setting or input; also a ValueError
    ├── StorageError    a file or bucket that cannot be read, written or trusted
    └── ClusterError    a Ray cluster that does not start or loses its trials again and again
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class Error(Exception):
    """Base class of what this project raises for a caller to handle."""


class UsageError(Error, ValueError):
    """A wrong argument, setting or input."""


class StorageError(Error):
    """A file that cannot be read, written or trusted, or a source of data that cannot be reached."""


class ClusterError(Error):
    """A Ray cluster that does not start, or on which trials get no further."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error says that memory ran out: Python's, torch's of a GPU or of the CPU, or Ray's.

    Examples
    --------
    >>> is_out_of_memory(MemoryError())
    True
    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate …"))
    True
    """
    return (
        isinstance(error, MemoryError)
        or "OutOfMemory" in type(error).__name__
        or (isinstance(error, RuntimeError) and any(text in str(error) for text in _CPU_OUT_OF_MEMORY))
    )


_CPU_OUT_OF_MEMORY = ("can't allocate memory", "DefaultCPUAllocator: not enough memory")
"""What torch says of it in a plain RuntimeError, on Linux and elsewhere."""


def one_line(error: BaseException) -> str:
    """Return an error in one line: the message alone if it is one of this project.

    Examples
    --------
    >>> one_line(UsageError("latent_dim must be >= 1, got 0"))
    'latent_dim must be >= 1, got 0'
    >>> one_line(KeyError("weights"))
    "KeyError: 'weights'"
    """
    message = " ".join(str(error).split()) or "no message"
    return message if isinstance(error, Error) else f"{type(error).__name__}: {message[:300]}"


def count_text(n: int, noun: str) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> count_text(1, "training image"), count_text(1200, "file"), count_text(2, "class")
    ('1 training image', '1,200 files', '2 classes')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "es" if noun.endswith("s") else "s")


@contextmanager
def notes_kept_back() -> Iterator[None]:
    """Keep what the readers of images log until the block has ended; an `Error` in it drops their notes.

    So bad input is one line, not one behind notes on how it was read. Downloads are reported as they happen.
    """
    handlers, kept = list(logging.getLogger().handlers), list[logging.LogRecord]()

    def passes(record: logging.LogRecord) -> bool:
        if not record.name.startswith(_READERS) or record.name.startswith(_DOWNLOADS):
            return True
        if record not in kept:  # each handler asks
            kept.append(record)
        return False

    for handler in handlers:
        handler.addFilter(passes)
    try:
        yield
    except Error:
        kept.clear()
        raise
    finally:
        for handler in handlers:
            handler.removeFilter(passes)
        for record in kept:
            for handler in handlers:
                if record.levelno >= handler.level:
                    handler.handle(record)


_READERS, _DOWNLOADS = "vae.data", "vae.data.download"
