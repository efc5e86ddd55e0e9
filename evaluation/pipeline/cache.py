"""A cache of what each embedder gives, so that an evaluation computes only what is missing.

Each embedder has an entry under a hash of all that its results depend on, written as soon as it is complete.
So a killed evaluation loses only what was being computed. The folder may be deleted at any time; entries that
no evaluation has used for long are deleted.

Of a run under a URI each complete entry is uploaded, for an evaluation that continues on another machine, and
deleted there when the evaluation is complete: the results are then in the tables.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from evaluation.embedders import Embedder, EmbeddingKey, Images
from evaluation.embedders.files import embedding_file, write_embedding
from evaluation.pipeline.serial import Embedded, Event, Scored
from evaluation.result_tables import EVALUATIONS, PREDICTIONS
from evaluation.scores.protocols import Round
from evaluation.scores.settings import KnnGrid
from tune.storage.mirror import Mirror
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import check_table, read_table, write_table
from vae.errors import StorageError, UsageError

logger = logging.getLogger(__name__)

FORMAT = 6
"""Version of the entries; raised whenever the same embedder and grid give something else."""
KEPT_DAYS = 30.0
"""Entries that no evaluation has used for so long are deleted."""
LIBRARIES = ("numpy", "torch", "scikit-learn", "umap-learn", "opentsne", "pacmap")
"""Those that compute embeddings and scores."""

_PARTIAL = ".part"
_ENTRY = re.compile(r"[0-9a-f]{24}(\.part)?")
"""The name of an entry, a `signature`; nothing else in the folder is ours to delete."""
_SCORES, _PREDICTIONS = "scores.parquet", "predictions.parquet"


class CacheEntry:
    """The results of one embedder: collected event by event, or read from an earlier evaluation.

    It is complete with ``n_rounds`` scoring rounds of each of ``keys``.
    """

    def __init__(self, root: Path, signature: str, keys: Sequence[EmbeddingKey], n_rounds: int) -> None:
        self.keys = tuple(keys)
        self.rows: list[dict[str, Any]] = []
        self.predictions: list[pa.Table] = []
        self.embedded: set[EmbeddingKey] = set()
        self._path = root / signature
        self._n_rounds = n_rounds
        self._scored: set[tuple[EmbeddingKey, Round]] = set()
        self.done = all(embedding_file(self._path, key).is_file() for key in self.keys)
        if self.done:
            try:
                os.utime(self._path)
                for key in self.keys:
                    check_table(embedding_file(self._path, key))
                self.rows = read_table(self._path / _SCORES).to_pylist()
                self.predictions = [read_table(self._path / _PREDICTIONS)]
                self.embedded = set(self.keys)
            except (OSError, StorageError) as error:
                logger.warning("%s; it is computed again", error)
                shutil.rmtree(self._path, ignore_errors=True)
                self.done = False

    def add(self, event: Event, images: Images, sources: tuple[pa.Array, pa.Array] | None = None) -> None:
        """Keep an embedding or a score; with the last one the entry is complete and stays.

        ``sources`` are those of `write_embedding`.

        Raises
        ------
        StorageError
            It cannot be written.
        """
        if isinstance(event, Embedded):
            write_embedding(self._work(), event.embedding, images.train_labels, images.test_labels, sources)
            self.embedded.add(event.key)
        elif isinstance(event, Scored):
            self.rows += event.rows
            self._scored.add((event.key, event.round))
            if event.predictions is not None:
                self.predictions.append(event.predictions)
        else:
            return
        if len(self._scored) == len(self.keys) * self._n_rounds and len(self.embedded) == len(self.keys):
            write_table(self.rows, EVALUATIONS, self._work() / _SCORES)
            together = pa.concat_tables([PREDICTIONS.empty_table(), *self.predictions])
            write_table(together, PREDICTIONS, self._work() / _PREDICTIONS)
            try:
                shutil.rmtree(self._path, ignore_errors=True)  # damaged, or it would have been used
                os.rename(self._work(), self._path)
            except OSError as error:
                raise StorageError(f"cannot write {self._path}: {error.strerror}") from error
            self.done = True

    def place_embeddings(self, root: Path) -> None:
        """Put the files of its embeddings below ``root``, as hard links where the file system has them.

        Raises
        ------
        StorageError
            They cannot be written.
        """
        for key in self.embedded:
            source = embedding_file(self._path if self.done else self._work(), key)
            target = embedding_file(root, key)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(source, target)
                except OSError:
                    shutil.copy2(source, target)
            except OSError as error:
                raise StorageError(f"cannot write {target}: {error.strerror}") from error

    def send(self, remote: Mirror) -> None:
        """Upload the complete entry for other machines; the last file that is sent makes it complete there.

        Raises
        ------
        StorageError
            It cannot be written there.
        """
        embeddings = (embedding_file(self._path, key) for key in self.keys)
        for file in (self._path / _SCORES, self._path / _PREDICTIONS, *embeddings):
            remote.write(file, file.read_bytes())

    def discard_partial(self) -> None:
        """Delete an entry that is not complete."""
        if not self.done:
            shutil.rmtree(self._partial_dir(), ignore_errors=True)

    def _work(self) -> Path:
        self._partial_dir().mkdir(parents=True, exist_ok=True)
        return self._partial_dir()

    def _partial_dir(self) -> Path:
        return self._path.with_name(self._path.name + _PARTIAL)


def find_cache_entries(
    run: RunDirectory, embedders: Sequence[Embedder], fingerprint: str, grid: KnnGrid, n_rounds: int
) -> list[CacheEntry]:
    """Return the entry of each embedder for images of that fingerprint; old entries are deleted.

    Raises
    ------
    UsageError
        Two embedders would give the same embedding.
    StorageError
        What is under a URI cannot be read.
    """
    keys = [key for embedder in embedders for key in embedder.keys]
    if double := next((key for key in keys if keys.count(key) > 1), None):
        raise UsageError(
            f"two of the VAEs have the same name, {double}; give their directories different ones"
        )
    root, signatures = run.cache_dir, [signature(embedder, fingerprint, grid) for embedder in embedders]
    _prune(root)
    if run.mirror:
        there = {info.base_name for info in run.mirror.list(root)}
        run.fetch(*(root / name for name in signatures if name in there))
    return [
        CacheEntry(root, name, embedder.keys, n_rounds)
        for name, embedder in zip(signatures, embedders, strict=True)
    ]


def _prune(root: Path) -> None:
    """Delete incomplete entries of killed processes, and those that were not used for long.

    Nothing behind a link: whoever made the run directory may have let it lead anywhere.
    """
    if root.is_symlink():
        return
    oldest = time.time() - KEPT_DAYS * 24 * 3600
    for path in root.glob("*"):
        entry = _ENTRY.fullmatch(path.name)
        if entry and not path.is_symlink() and (entry[1] or path.stat().st_mtime < oldest):
            shutil.rmtree(path, ignore_errors=True)


def signature(embedder: Embedder, fingerprint: str, grid: KnnGrid) -> str:
    """Return a hash of all that the results of an embedder depend on, see `Embedder`."""
    described = [
        FORMAT,
        {name: version(name) for name in LIBRARIES},
        fingerprint,
        repr(grid),
        repr(embedder),
        [str(key) for key in embedder.keys],
    ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:24]
