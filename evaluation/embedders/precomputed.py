"""An embedding from a Parquet file, which is scored like ours but has no images."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import types

from evaluation.embedders import METHODS, Embedding, EmbeddingKey, Images
from tune.storage.tables import read_table
from vae.data.parquet_columns import class_labels, is_test_row
from vae.data.splits import HOLDOUT_FRACTION, HOLDOUT_SEED, stratified_rows
from vae.errors import UsageError

logger = logging.getLogger(__name__)

EMBEDDING_COLUMN, LABEL_COLUMN, SPLIT_COLUMN = "embedding", "label", "split"


@dataclass(frozen=True, slots=True)
class PrecomputedEmbedder:
    """An embedder for points that exist already."""

    embedding: Embedding
    relative_cost: ClassVar[int] = 1
    on_gpu: ClassVar[bool] = False
    uses_raw_neighbors: ClassVar[bool] = False

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return (self.embedding.key,)

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        yield self.embedding


@dataclass(frozen=True, slots=True)
class PrecomputedEmbedding:
    """What such a file holds; ``images`` has the labels but no pixels."""

    embedding: Embedding
    images: Images
    class_names: tuple[str, ...]
    fingerprint: str


def read_precomputed(path: Path) -> PrecomputedEmbedding:
    """Read a file with the columns `embedding`, lists of one length, `label`, and if known `split`.

    Labels are whole numbers or names, splits `train` and `test`. Without splits a fifth is set apart as the
    test part, always the same.

    Raises
    ------
    UsageError
        A column is missing or does not hold what it should.
    StorageError
        The file cannot be read.
    """
    table = read_table(path)
    if EMBEDDING_COLUMN not in table.column_names:
        raise UsageError(
            f"{path} has no column '{EMBEDDING_COLUMN}', only {', '.join(table.column_names) or 'none'}; "
            "name the column of the points so"
        )
    points = _points(table[EMBEDDING_COLUMN], f"column '{EMBEDDING_COLUMN}' of {path}")
    if LABEL_COLUMN not in table.column_names:
        raise UsageError(f"{path} has no column '{LABEL_COLUMN}'; there is nothing to score without classes")
    found = class_labels(table[LABEL_COLUMN], f"column '{LABEL_COLUMN}' of {path}", ())
    classes, labels = np.unique(found, return_inverse=True)
    names = tuple(str(name) for name in classes)
    if len(names) < 2:
        raise UsageError(f"{path} has one class, {names[0]!r}; scores need at least two")
    if SPLIT_COLUMN in table.column_names:
        is_test = is_test_row(table[SPLIT_COLUMN], f"column '{SPLIT_COLUMN}' of {path}")
        if is_test.all() or not is_test.any():
            raise UsageError(f"{path} has rows of one split only; add the other or drop '{SPLIT_COLUMN}'")
        train, test = np.nonzero(~is_test)[0], np.nonzero(is_test)[0]
    else:
        train, test = stratified_rows(len(points), labels, HOLDOUT_FRACTION, HOLDOUT_SEED)
        logger.warning("%s has no column '%s': %d of its rows are the test", path, SPLIT_COLUMN, len(test))
    # What is called like one of our methods is not made by it.
    key = EmbeddingKey(path.stem + (" (own)" if path.stem in METHODS else ""), points.shape[1])
    nothing = (np.empty((len(rows), 1, 0, 0), dtype=np.uint8) for rows in (train, test))
    digest = hashlib.sha256()
    for array in (np.array(points.shape), points, labels, test):
        digest.update(np.ascontiguousarray(array).data)
    return PrecomputedEmbedding(
        Embedding(key, points[train], points[test]),
        Images(next(nothing), labels[train].astype(np.int64), next(nothing), labels[test].astype(np.int64)),
        names,
        digest.hexdigest()[:16],
    )


def _points(column: pa.ChunkedArray, where: str) -> NDArray[np.float32]:
    if not len(column):
        raise UsageError(f"{where} has no rows")
    if isinstance(column.type, pa.FixedShapeTensorType):
        points = np.concatenate([chunk.to_numpy_ndarray() for chunk in column.chunks])
        points = points.reshape(len(points), -1).astype(np.float32)
    else:
        kind = getattr(column.type, "value_type", None)
        if kind is None or not (types.is_integer(kind) or types.is_floating(kind)):
            raise UsageError(f"{where} is {column.type}, must be lists of numbers")
        rows = column.to_pylist()
        for number, row in enumerate(rows):
            if not row:
                raise UsageError(f"row {number} of {where} is no list of numbers; drop the row")
            if len(row) != len(rows[0]):
                raise UsageError(
                    f"row {number} of {where} has {len(row)} numbers, must be {len(rows[0])} as row 0 has"
                )
        points = np.array(rows, dtype=np.float32)  # None becomes NaN
    if len(odd := np.flatnonzero(~np.isfinite(points).all(axis=1))):
        raise UsageError(f"row {odd[0]} of {where} holds NaN, infinity or nothing; drop the row")
    return points
