"""The errors of this project; the message of each is one line: the value, the rule, the way out.

::

    Error
    ├── UsageError      a wrong argument, setting or input; also a ValueError
    ├── StorageError    a file or bucket that cannot be read, written or trusted
    └── ClusterError    a Ray cluster that does not start or loses its trials again and again
"""


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
