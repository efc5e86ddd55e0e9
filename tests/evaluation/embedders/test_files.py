"""The folder of embeddings as other programs read it."""

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from evaluation.embedders import Embedding, EmbeddingKey
from evaluation.embedders.files import embedding_file, read_embedding, write_embedding
from tune.storage.tables import read_table
from vae.errors import StorageError

# A trial with a name that a reader could take for a number.
KEYS = [
    EmbeddingKey("pca", 2),
    EmbeddingKey("pca", 10),
    EmbeddingKey("vae", 10, "12345678"),
    EmbeddingKey("vae", 4, "b", 7),
    EmbeddingKey("vae", 4, "b", 8),
    EmbeddingKey("ensemble", 14, "12345678+b"),
]
EXPECTED = {(key.method, key.trial_id, key.dim) for key in KEYS}


@pytest.fixture(scope="module")
def embeddings():
    generator = np.random.default_rng(0)
    return [
        Embedding(
            key,
            generator.normal(size=(7, key.dim)).astype("f4"),
            generator.normal(size=(3, key.dim)).astype("f4"),
        )
        for key in KEYS
    ]


@pytest.fixture(scope="module")
def root(tmp_path_factory, embeddings):
    root = tmp_path_factory.mktemp("run") / "embeddings"
    for embedding in embeddings:
        write_embedding(root, embedding, np.arange(7), np.arange(3))
    return root


def test_an_embedding_comes_back_as_it_was(root, embeddings):
    for embedding in embeddings:
        back = read_embedding(root, embedding.key)
        np.testing.assert_array_equal(back.train, embedding.train)
        np.testing.assert_array_equal(back.test, embedding.test)


def test_rows_join_back_to_the_dataset(root):
    table = read_table(embedding_file(root, KEYS[0]))
    assert table["split"].to_pylist() == ["train"] * 7 + ["test"] * 3
    assert table["index"].to_pylist() == table["label"].to_pylist() == [*range(7), *range(3)]
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 2)


def test_without_labels_the_column_is_null_but_typed(tmp_path, embeddings):
    write_embedding(tmp_path, embeddings[0], None, None)
    labels = read_table(embedding_file(tmp_path, KEYS[0]))["label"]
    assert (labels.type, labels.null_count) == (pa.int64(), 10)


def test_pyarrow_recovers_every_embedding(root):
    table = ds.dataset(root, partitioning="hive").to_table(columns=["method", "trial_id", "dim"])
    assert {(row["method"], row["trial_id"], row["dim"]) for row in table.to_pylist()} == EXPECTED


def test_pandas_recovers_every_embedding(root):
    frame = pd.read_parquet(root, columns=["method", "trial_id", "dim"]).astype(object)
    rows = frame.where(frame.notna(), None).drop_duplicates().itertuples(index=False)
    assert {tuple(row) for row in rows} == EXPECTED


def test_polars_recovers_every_embedding(root):
    assert (
        set(pl.scan_parquet(root).select("method", "trial_id", "dim").unique().collect().rows()) == EXPECTED
    )


def test_duckdb_recovers_every_embedding(root):
    rows = duckdb.sql(
        f"SELECT DISTINCT method, trial_id, dim, len(embedding) FROM '{root}/**/*.parquet'"
    ).fetchall()
    assert {row[:3] for row in rows} == EXPECTED
    assert all(row[2] == row[3] for row in rows)


@pytest.mark.parametrize("read", [pd.read_parquet, pl.read_parquet], ids=["pandas", "polars"])
def test_a_dimension_reads_whole(root, read):
    frame = read(f"{root}/dim=10")
    assert len(frame) == 2 * 10
    assert np.stack(frame["embedding"].to_numpy()).shape == (20, 10)


def test_an_embedding_that_is_not_there_is_one_clear_error(tmp_path):
    with pytest.raises(StorageError, match=r"cannot read .*dim=2/name=pca/part-0.parquet: it does not exist"):
        read_embedding(tmp_path, KEYS[0])


def test_the_seed_of_the_training_is_in_the_name_and_in_a_column(root):
    path = embedding_file(root, KEYS[4])
    assert path == root / "dim=4" / "name=vae-b-seed8" / "part-0.parquet"
    assert set(read_table(path)["training_seed"].to_pylist()) == {8}
    assert set(read_table(embedding_file(root, KEYS[0]))["training_seed"].to_pylist()) == {None}


def test_each_row_says_which_image_it_is(tmp_path):
    embedding = Embedding(EmbeddingKey("pca", 2), *(np.zeros((n, 2), np.float32) for n in (3, 1)))
    sources = pa.array(["a/1.png", "a/2.png", "b/1.png"]), pa.array(["b/2.png"])
    write_embedding(tmp_path, embedding, None, None, sources)
    table = read_table(embedding_file(tmp_path, embedding.key))
    assert table["source"].to_pylist() == ["a/1.png", "a/2.png", "b/1.png", "b/2.png"]
