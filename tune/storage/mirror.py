"""A run under a URI, such as ``s3://bucket/prefix/name``, and the directory of this machine that mirrors it.

What is under the URI is the truth. A command works in a directory of its own, an ordinary run directory
that is filled from the URI and written back to it, and removed when the command ends, unless something in
it could not be sent. Hidden files stay here: locks, temporary files; an evaluation's cache sends its own. Of
``ray/`` no more than TensorBoard's logs is sent: trials write their checkpoints under the URI themselves.
"""

import atexit
import copy
import logging
import os
import shutil
import tempfile
from collections.abc import Container, Iterator
from pathlib import Path, PurePosixPath
from typing import Self

from pyarrow import fs

from tune.storage.filesystems import (
    ATOMIC,
    LONG_RETRIES,
    SHORT_RETRIES,
    RetryPolicy,
    connect,
    join,
    last_part,
    send_file,
    storage_errors,
    with_retries,
)
from vae.errors import StorageError

logger = logging.getLogger(__name__)


class LeaseLost(StorageError):
    """Another process has taken the run over: this one must write nothing more."""


JOURNAL = "optuna.journal"
RAY = "ray"
LOGS = "events.out.tfevents."
REPLACED_WHOLE = ("embeddings", "figures")
"""Folders of which nothing older may stay under the URI."""


class Mirror:
    """A run under a URI and its new, empty directory on this machine.

    Raises
    ------
    UsageError
        pyarrow knows no such filesystem.
    StorageError
        It does not answer.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.filesystem, self._root = connect(uri)
        self._retries = SHORT_RETRIES
        self.directory = Path(tempfile.mkdtemp(prefix="vae-search-"), last_part(uri))
        self.directory.mkdir()
        self.leases: tuple[Path, ...] = ()
        """What `tune.storage.lease` has written for this process; without them it may change nothing."""
        self._known: dict[Path, tuple[int, int]] = {}  # path here -> size and time when it was the same there
        atexit.register(self._leave)

    def set_retries(self, policy: RetryPolicy) -> None:
        """Set how often a failed request is repeated from now on."""
        if policy != self._retries:
            self.filesystem, self._retries = with_retries(self.filesystem, policy), policy

    def with_retries(self, policy: RetryPolicy) -> Self:
        """Return the same mirror with another policy."""
        other = copy.copy(self)
        other.set_retries(policy)
        return other

    def remote_path(self, path: Path) -> str:
        """Return where on the filesystem something of the directory belongs."""
        return str(PurePosixPath(self._root, path.relative_to(self.directory)))

    def exists(self, path: Path) -> bool:
        """Whether a file or folder is there under the URI."""
        with storage_errors(f"read {self.uri}"):
            return bool(self.filesystem.get_file_info(self.remote_path(path)).type != fs.FileType.NotFound)

    def uri_of(self, path: Path) -> str:
        """Return the URI of something of the directory."""
        return str(join(self.uri, path.relative_to(self.directory).as_posix()))

    def list(self, path: Path, *, recursive: bool = False) -> list[fs.FileInfo]:
        """Return what lies in a folder under the URI, by name; nothing if it is not there."""
        with storage_errors(f"read {self.uri}"):
            found = self.filesystem.get_file_info(
                fs.FileSelector(self.remote_path(path), allow_not_found=True, recursive=recursive)
            )
        return sorted(found, key=lambda info: info.path)

    def fetch(self, path: Path, *, again: bool = False, names: Container[str] | None = None) -> None:
        """Copy a folder with all in it from the URI, of the run itself the files alone.

        What is here already stays as it is; with ``again``, only what was changed here. With ``names`` no
        other files are copied.

        Raises
        ------
        StorageError
            Something cannot be read there or written here.
        """
        for info in self.list(path, recursive=path != self.directory):
            target = self.directory / PurePosixPath(info.path).relative_to(self._root)
            if info.type != fs.FileType.File or _hidden(target, path):
                continue
            if names is not None and target.name not in names:
                continue
            if target.exists() and not (again and self._known.get(target) == _stamp(target)):
                continue
            with storage_errors(f"read {self.uri_of(target)}"):
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(f".{target.name}")
                fs.copy_files(info.path, str(part), source_filesystem=self.filesystem, use_threads=False)
                os.utime(part, ns=(info.mtime_ns, info.mtime_ns))  # it tells until when a driver lived
                part.rename(target)
            self._known[target] = _stamp(target)

    def push(self, *, logs: bool = False) -> None:
        """Send what has changed here in the order in which it was written, but the journal first.

        So no table under the URI is ahead of the journal, and the record that says how a study has ended is
        there when the rest is. TensorBoard's ``logs``, which change all the time, must be asked for.

        Raises
        ------
        LeaseLost
            Another process has taken over.
        StorageError
            Something could not be sent. It stays here, and the next call tries again.
        """
        changed = self._changed(logs=logs)
        try:
            for path in sorted(changed, key=lambda path: (path.name != JOURNAL, changed[path][1])):
                self._send(path)
                self._known[path] = changed[path]
            for folder in {self.directory / path.relative_to(self.directory).parts[0] for path in changed}:
                if folder.name in REPLACED_WHOLE:
                    self._delete_what_is_gone(folder)
        except StorageError:
            self.set_retries(SHORT_RETRIES)  # the next attempts need not take minutes as well
            raise
        if changed:
            self.set_retries(LONG_RETRIES)

    def check_leases(self) -> None:
        """Make sure that no other process has taken over, as it does if this one was suspended for long.

        Asked before each change: a thread that renews the lease may wake up later than the one that writes.

        Raises
        ------
        LeaseLost
            A lease is gone.
        StorageError
            The filesystem does not answer.
        """
        # Listed, not looked up one by one: if the storage refuses that, its reply says why.
        folders = {lease.parent for lease in self.leases}
        held = {info.path for folder in folders for info in self.list(folder)}
        # Where a whole bucket is gone, nobody has taken over.
        if not held.issuperset(map(self.remote_path, self.leases)) and self.exists(self.directory):
            raise LeaseLost(
                f"another process has taken over {self.uri}, as this one was not heard of for too long; "
                f"what it did not send is in {self.directory}"
            )

    def write(self, path: Path, content: bytes) -> None:
        """Write a file under the URI; it is not there before all of it is.

        Raises
        ------
        LeaseLost
            Another process has taken over.
        StorageError
            It cannot be written.
        """
        self.check_leases()
        with storage_errors(f"write {self.uri_of(path)}"):
            send_file(content, self.filesystem, self.remote_path(path))

    def read(self, path: Path) -> bytes:
        """Return a file under the URI."""
        with (
            storage_errors(f"read {self.uri_of(path)}"),
            self.filesystem.open_input_stream(self.remote_path(path)) as stream,
        ):
            content: bytes = stream.read()
            return content

    def copy(self, source: Path, target: Path) -> None:
        """Copy a file from one place to another under the URI; for errors see `write`."""
        self.check_leases()
        with storage_errors(f"write {self.uri_of(target)}"):
            if self.filesystem.type_name not in ATOMIC:
                self.filesystem.create_dir(str(PurePosixPath(self.remote_path(target)).parent))
            self.filesystem.copy_file(self.remote_path(source), self.remote_path(target))

    def delete(self, path: Path) -> None:
        """Delete a file or a folder under the URI, if it is there; for errors see `write`."""
        self.check_leases()
        with storage_errors(f"write {self.uri_of(path)}"):
            match self.filesystem.get_file_info(self.remote_path(path)).type:
                case fs.FileType.Directory:
                    self.filesystem.delete_dir(self.remote_path(path))
                case fs.FileType.File:
                    self.filesystem.delete_file(self.remote_path(path))

    def _changed(self, *, logs: bool = False) -> dict[Path, tuple[int, int]]:
        """Return the files that have changed since they were the same here and under the URI."""
        stamps = {path: _stamp(path) for path in _files(self.directory, logs=logs)}
        return {path: stamp for path, stamp in stamps.items() if self._known.get(path) != stamp}

    def _send(self, path: Path) -> None:
        self.write(path, path.read_bytes())

    def _delete_what_is_gone(self, folder: Path) -> None:
        for info in self.list(folder, recursive=True):
            path = self.directory / PurePosixPath(info.path).relative_to(self._root)
            if info.type == fs.FileType.File and not path.exists():
                self.delete(path)

    def _leave(self) -> None:
        if self._changed():
            logger.warning("what could not be sent to %s is in %s", self.uri, self.directory)
        else:
            shutil.rmtree(self.directory.parent, ignore_errors=True)


def _files(directory: Path, *, logs: bool) -> Iterator[Path]:
    """Yield the files that belong under the URI; of Ray's folder no more than TensorBoard's."""
    for root, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if Path(root) == directory and not logs and RAY in folders:
            folders.remove(RAY)
        of_ray = Path(root).is_relative_to(directory / RAY)
        wanted = LOGS if of_ray else ""
        yield from (Path(root, n) for n in names if n.startswith(wanted) and not n.startswith("."))


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _hidden(path: Path, directory: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(directory).parts)
