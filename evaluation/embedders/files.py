"""Embeddings on disk: ``embeddings/dim=<dim>/name=<method or vae-trial_id-seed>/part-0.parquet``.

The dimension leads because readers need one type for a column: a folder ``dim=…`` reads whole everywhere. The
method, the trial and its seed are columns of the file: as partitions a missing trial would stop pandas, and a
trial named 12345678 would come back as a number.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.embedders import Embedding, EmbeddingKey
from evaluation.result_tables import embeddings_schema
from tune.storage.tables import read_table, write_table

SPLITS = ("train", "test")


def embedding_file(root: Path, key: EmbeddingKey) -> Path:
    """Return where an embedding lies."""
    return root / f"dim={key.dim}" / f"name={key.name}" / "part-0.parquet"


def write_embedding(
    root: Path,
    embedding: Embedding,
    train_labels: NDArray[np.int64] | None,
    test_labels: NDArray[np.int64] | None,
    sources: tuple[pa.Array, pa.Array] | None = None,
) -> None:
    """Write one embedding; labels and sources of both splits are null where there are none.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    key = embedding.key
    schema = embeddings_schema(key.dim)
    parts = []
    for split, points, labels, names in zip(
        SPLITS,
        (embedding.train, embedding.test),
        (train_labels, test_labels),
        sources or (None, None),
        strict=True,
    ):
        n = len(points)
        columns = {
            "method": pa.repeat(key.method, n),
            "trial_id": pa.repeat(pa.scalar(key.trial_id, pa.string()), n),
            "training_seed": pa.repeat(pa.scalar(key.training_seed, pa.int64()), n),
            "split": pa.repeat(split, n),
            "index": pa.array(np.arange(n)),
            "label": pa.nulls(n, pa.int64()) if labels is None else pa.array(labels),
            "source": pa.nulls(n, pa.string()) if names is None else names,
            "embedding": pa.FixedSizeListArray.from_arrays(
                pa.array(points.ravel()), type=schema.field("embedding").type
            ),
        }
        parts.append(pa.table(columns, schema=schema))
    write_table(pa.concat_tables(parts), schema, embedding_file(root, key))


def read_embedding(root: Path, key: EmbeddingKey) -> Embedding:
    """Read one embedding back.

    Raises
    ------
    StorageError
        There is no such embedding, or its file is damaged.
    """
    table = read_table(embedding_file(root, key))
    points = table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, key.dim)
    split = table["split"].to_numpy(zero_copy_only=False)
    return Embedding(key, *(points[split == name] for name in SPLITS))
