"""Files that are replaced in one step: a reader sees the old one or the new one, never half of one."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from vae.errors import StorageError


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yield a hidden file to write, which takes the place of ``path`` if all goes well and vanishes if not.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A hidden name is ignored by everything that reads the folder as a dataset.
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=path.suffix, dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes it private
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """Write a text file in one step.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    with replaced_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replaced_directory(directory: Path) -> Iterator[Path]:
    """Yield a hidden directory that takes the place of ``directory`` if all goes well, else vanishes.

    Raises
    ------
    StorageError
        The directory cannot be written.
    """
    staging = None
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        yield staging
        staging.chmod(0o755)  # mkdtemp makes it private
        if directory.exists():
            os.rename(directory, staging.with_name(staging.name + "-old"))
        os.rename(staging, directory)
    except OSError as error:
        raise StorageError(f"cannot write {directory}: {error.strerror or error}") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
            shutil.rmtree(staging.with_name(staging.name + "-old"), ignore_errors=True)


def write_directory(files: Mapping[str, bytes], directory: Path) -> None:
    """Write a directory of files in one step; an older one there is replaced.

    Raises
    ------
    StorageError
        The directory cannot be written.
    """
    with replaced_directory(directory) as staging:
        for name, content in files.items():
            (staging / name).write_bytes(content)
