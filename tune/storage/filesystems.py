"""The filesystems that a URI can name, by way of pyarrow: what is accepted, how long each is retried."""

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa
from pyarrow import fs

from vae.errors import StorageError, UsageError

logger = logging.getLogger(__name__)

ATOMIC = ("s3", "gcs", "abfs")
"""Filesystems that have no folders, and on which a file is not there before all of it is."""

WARN_AFTER_S = 20.0
"""How long a filesystem may not answer before a warning says so."""
FILESYSTEM_ERRORS = (OSError, pa.ArrowException)
"""What a filesystem raises: that of Azure not only what it should."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request to a filesystem is repeated before it has failed."""

    s3_attempts: int
    """With pauses from 50 ms that double."""
    gcs_limit: timedelta
    """Its own would be 15 minutes. A server that accepts and does not answer holds it for two."""


SHORT_RETRIES = RetryPolicy(s3_attempts=4, gcs_limit=timedelta(seconds=16))
"""Some 16 s if nothing answers: before work has begun, an early error is worth more."""
LONG_RETRIES = RetryPolicy(s3_attempts=13, gcs_limit=timedelta(minutes=4))
"""Some 4 minutes: for what must not be lost."""


def is_uri(address: str | Path) -> bool:
    """Whether this is the URI of a filesystem rather than a path."""
    return "://" in str(address)


def parse_location(text: str) -> str | Path:
    """Return the location of a run as it was given: a URI as it is, else a path."""
    return text if is_uri(text) else Path(text).expanduser()


def join(folder: str | Path, place: str) -> str | Path:
    """Return the address of something in a folder; the options behind a URI's question mark stay there."""
    if isinstance(folder, Path):
        return folder / place
    parts = urlsplit(folder)
    return urlunsplit(parts._replace(path=str(PurePosixPath(parts.path or "/", place))))


def last_part(uri: str) -> str:
    """Return the name of what a URI leads to."""
    return urlsplit(uri).path.rstrip("/").rpartition("/")[2]


def connect(uri: str) -> tuple[fs.FileSystem, str]:
    """Return the filesystem of a URI and the path there; an answer or an error comes within seconds.

    Raises
    ------
    UsageError
        pyarrow knows no such filesystem or option, or the URI holds a password, which would be recorded.
    StorageError
        It does not answer.
    """
    if urlsplit(uri).password:
        raise UsageError(
            "a storage URI must hold no password, it would be recorded; set it in the environment"
        )
    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except ValueError as error:
        raise UsageError(
            f"cannot use '{uri}' as storage: {error}; give a directory or a URI such as s3://bucket/prefix"
        ) from error
    except FILESYSTEM_ERRORS as error:
        raise StorageError(f"cannot reach {uri}: {error_message(error)}") from error
    if not path.strip("/"):
        raise UsageError(f"a storage URI must name a bucket or folder, got '{uri}'")
    return with_retries(filesystem, SHORT_RETRIES), path.rstrip("/")


def check_writable(uri: str) -> None:
    """Make sure, within seconds, that something can be written under a URI.

    Raises
    ------
    UsageError
        pyarrow knows no such filesystem.
    StorageError
        Nothing can be written there.
    """
    filesystem, path = connect(uri)
    probe = f"{path}/.probe-{uuid.uuid4().hex}"
    with storage_errors(f"write {uri}", "; check the credentials, or choose another --storage"):
        if filesystem.type_name not in ATOMIC:
            filesystem.create_dir(path)
        filesystem.open_output_stream(probe).close()
        filesystem.delete_file(probe)


def with_retries(filesystem: fs.FileSystem, policy: RetryPolicy) -> fs.FileSystem:
    """Return the same filesystem with that policy, if it is S3 or GCS; others are not retried."""
    if isinstance(filesystem, fs.S3FileSystem):
        return RetriedS3.with_attempts(filesystem, policy.s3_attempts)
    if isinstance(filesystem, fs.GcsFileSystem):
        again, (options,) = filesystem.__reduce__()
        return again(options | {"retry_time_limit": policy.gcs_limit})
    return filesystem


class RetriedS3(fs.S3FileSystem):
    """S3 with a number of attempts for each request, also where a worker has unpickled it.

    pyarrow's own way counts only pauses, so that a server that says nothing holds it up for two minutes. That
    which it calls standard has a store of 100 retries, never filled up, and then gives up immediately.
    """

    def __init__(self, attempts: int, **options: Any) -> None:
        super().__init__(**options, retry_strategy=fs.AwsDefaultS3RetryStrategy(max_attempts=attempts))
        self._attempts = attempts

    @classmethod
    def with_attempts(cls, filesystem: fs.S3FileSystem, attempts: int) -> Self:
        """Return one with the options of another."""
        return cls._restored(attempts, fs.S3FileSystem.__reduce__(filesystem)[1][0])

    def __reduce__(self) -> tuple[Any, ...]:
        return RetriedS3._restored, (self._attempts, super().__reduce__()[1][0])

    @classmethod
    def _restored(cls, attempts: int, options: dict[str, Any]) -> Self:
        # A file of less than 5 MB is then one request, not three.
        return cls(attempts, **options | {"allow_delayed_open": True})


def send_file(content: bytes, filesystem: fs.FileSystem, target: str) -> None:
    """Write a file, which is not there before all of it is, or raise one of the `FILESYSTEM_ERRORS`.

    Not by `pyarrow.fs.copy_files`, which says nothing if S3 has refused the file.
    """
    if filesystem.type_name in ATOMIC:
        _write(content, filesystem, target)
        return
    folder, name = str(PurePosixPath(target).parent), PurePosixPath(target).name
    filesystem.create_dir(folder)
    _write(content, filesystem, f"{folder}/.{name}")
    filesystem.move(f"{folder}/.{name}", target)


def fetch_folder(filesystem: fs.FileSystem, source: str, target: Path) -> None:
    """Copy a folder from a filesystem into a new directory here, or raise one of the `FILESYSTEM_ERRORS`."""
    target.mkdir(parents=True)
    fs.copy_files(source, str(target), source_filesystem=filesystem)


def _write(content: bytes, filesystem: fs.FileSystem, target: str) -> None:
    with filesystem.open_output_stream(target) as stream:
        stream.write(content)


@contextmanager
def storage_errors(what: str, way_out: str = "") -> Iterator[None]:
    """Make one line of what a filesystem raises: ``cannot <what>: <its own words>``; another of long waiting.

    Raises
    ------
    StorageError
        In place of any of the `FILESYSTEM_ERRORS`.
    """
    line = f"could not {what} for {WARN_AFTER_S:.0f} s; still trying, for some minutes at most"
    word = threading.Timer(WARN_AFTER_S, logger.warning, [line])
    word.daemon = True
    word.start()
    try:
        yield
    except FILESYSTEM_ERRORS as error:
        raise StorageError(f"cannot {what}: {error_message(error)}{way_out}") from error
    finally:
        word.cancel()


def error_message(error: Exception) -> str:
    """Return what a filesystem says, without the wrapping of the libraries of Amazon and Google."""
    text = " ".join(str(error).split())
    for before, after in (("AWS Error ", " (Request ID"), ("with a last message of ", " error_info=")):
        text = text.rpartition(before)[2].partition(after)[0]
    return text[:300]
