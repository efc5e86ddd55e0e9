"""Checkpoints of a trial under a URI, written by the worker itself and complete or an error.

Ray would copy them with `pyarrow.fs.copy_files`, which does not report that S3 has refused a file: the trial
would continue, and its older checkpoint be deleted, with nothing in its place.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Self

from pyarrow import fs

from tune.storage.filesystems import FILESYSTEM_ERRORS, error_message, fetch_folder, send_file
from tune.trials.checkpoints import CHECKPOINT, HISTORY_FILE, CheckpointUnreachable, whole_history

logger = logging.getLogger(__name__)


class RemoteCheckpoints:
    """The checkpoints of one trial, of which the newest is kept.

    Parameters
    ----------
    filesystem, folder
        Where they lie.
    """

    def __init__(self, filesystem: fs.FileSystem, folder: str) -> None:
        self.filesystem = filesystem
        self.folder = folder
        self._older: list[str] = []

    def of_trial(self, trial_id: str) -> Self:
        """Return those of one trial of a session, of which this is the folder."""
        return type(self)(self.filesystem, f"{self.folder}/{trial_id}")

    def save(self, directory: Path, images: int) -> None:
        """Write a directory as the checkpoint after so many images, then delete those before it.

        Raises
        ------
        CheckpointUnreachable
            It could not be written; those before it are still there.
        """
        checkpoint = f"{self.folder}/{CHECKPOINT}{images:09d}"
        files = [path for path in directory.rglob("*") if path.is_file()]
        with _reached():
            for path in sorted(files, key=lambda path: path.name == HISTORY_FILE):
                target = str(PurePosixPath(checkpoint, path.relative_to(directory).as_posix()))
                send_file(path.read_bytes(), self.filesystem, target)
        for old in self._older:
            if old != checkpoint:
                self._delete(old)
        self._older = [checkpoint]

    def load(self, directory: Path, resume_from: str | None) -> bool:
        """Fetch the newest whole checkpoint into an empty directory, else ``resume_from``.

        Returns
        -------
        bool
            Whether there was any.

        Raises
        ------
        CheckpointUnreachable
            What is there could not be read.
        """
        with _reached():
            found = self.filesystem.get_file_info(fs.FileSelector(self.folder, allow_not_found=True))
            self._older = sorted(info.path for info in found if info.base_name.startswith(CHECKPOINT))
            for checkpoint in [*reversed(self._older), *([resume_from] if resume_from else [])]:
                with tempfile.TemporaryDirectory(dir=directory) as temporary:
                    copy = Path(temporary) / "checkpoint"
                    fetch_folder(self.filesystem, checkpoint, copy)
                    if checkpoint == resume_from or whole_history(copy) is not None:
                        for path in copy.iterdir():
                            path.rename(directory / path.name)
                        return True
        return False

    def _delete(self, checkpoint: str) -> None:
        try:
            self.filesystem.delete_dir(checkpoint)
        except FILESYSTEM_ERRORS as error:  # it takes room, nothing else
            logger.debug("cannot delete %s: %s", checkpoint, error)


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except FILESYSTEM_ERRORS as error:
        raise CheckpointUnreachable(f"cannot reach the checkpoints: {error_message(error)}") from error
