"""Files that are replaced in one step: a reader sees the old one or the new one, never half of one."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from vae.errors import StorageError


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Make the folder of ``path``; what goes wrong from then on is a StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yield a hidden file to write, which takes the place of ``path`` if all goes well and vanishes if not.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    with _writing(path):
        # A hidden name is ignored by everything that reads the folder as a dataset.
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=path.suffix, dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            _sync(temporary)
            temporary.chmod(0o644)  # mkstemp makes it private
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """Write a text file in one step; for errors see `replaced_file`."""
    with replaced_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replaced_directory(directory: Path) -> Iterator[Path]:
    """Yield a hidden directory that takes the place of ``directory``; for errors see `replaced_file`.

    Its files are on the disk before, so that a power cut leaves none empty.
    """
    with _writing(directory):
        staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        old = staging.with_name(staging.name + "-old")
        try:
            yield staging
            staging.chmod(0o755)  # mkdtemp makes it private
            for path in (*staging.rglob("*"), staging):
                _sync(path)
            if os.path.lexists(directory):
                os.rename(directory, old)
            os.rename(staging, directory)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            if old.is_symlink():  # what it leads to is not ours
                old.unlink()
            shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    """Wait until a file, or the list of a directory's files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in _NO_SYNC_OF_DIRECTORIES):
            raise
    finally:
        os.close(descriptor)


_NO_SYNC_OF_DIRECTORIES = (errno.EINVAL, errno.EBADF, errno.ENOTSUP)
"""What network filesystems say that sync files alone."""


def write_directory(files: Mapping[str, bytes], directory: Path) -> None:
    """Write a directory of files in one step; an older one there is replaced."""
    with replaced_directory(directory) as staging:
        for name, content in files.items():
            (staging / name).write_bytes(content)
