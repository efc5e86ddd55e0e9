"""A VAE's checkpoint that works on any node of a cluster, whichever disk it lies on."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory whose files travel with it when it is pickled.

    The files are read only then, or when they are used. A file that is missing is an error of whoever uses
    it: a lost checkpoint costs its own embedding and no other.
    """

    directory: Path
    _sent: dict[str, bytes] | None = field(default=None, compare=False)

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """Give a directory with its files; one made for files that were sent is removed afterwards."""
        if self._sent is None:
            yield self.directory
            return
        with TemporaryDirectory() as temporary:
            copy = Path(temporary) / self.directory.name
            copy.mkdir()
            for name, content in self._sent.items():
                (copy / name).write_bytes(content)
            yield copy

    def __getstate__(self) -> dict[str, object]:
        return {"directory": self.directory, "_sent": self._files()}

    def __repr__(self) -> str:
        """Its contents, wherever they lie."""
        digest = hashlib.sha256()
        for name, content in self._files().items():
            digest.update(name.encode() + content)
        return f"{type(self).__name__}({digest.hexdigest()})"

    def _files(self) -> dict[str, bytes]:
        # Not at the top of the file: torch takes seconds.
        from vae.checkpoint import CONFIG_FILE, MODEL_FILE

        if self._sent is not None:
            return self._sent
        files = {}
        for name in (CONFIG_FILE, MODEL_FILE):
            with suppress(OSError):
                files[name] = (self.directory / name).read_bytes()
        return files
