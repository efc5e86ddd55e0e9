import pyarrow as pa
import pytest

from evaluation.result_tables import EVALUATIONS, embeddings_schema
from tune.storage.tables import (
    EPOCHS,
    FINALIST_SEEDS,
    SCHEMA_VERSION,
    TRIALS,
    read_frame,
    read_table,
    write_table,
)
from vae.config import PARAMS, Config
from vae.errors import StorageError


def test_a_table_comes_back_with_every_column_of_the_schema_typed(tmp_path):
    write_table(
        [{"trial_id": "a", "epoch": 1}, {"trial_id": "a", "epoch": 2, "val_ssim": 0.5}],
        EPOCHS,
        tmp_path / "t",
    )
    table = read_table(tmp_path / "t")
    assert table.schema.equals(EPOCHS)  # also where a column is all null
    assert table["val_ssim"].to_pylist() == [None, 0.5]
    assert table.schema.metadata[b"schema_version"] == str(SCHEMA_VERSION).encode()


def test_trials_have_a_column_for_every_hyperparameter(tmp_path):
    params = Config.from_params({"schedule": "milestones", "milestones": [3, 5]}).to_params()
    write_table([{f"config_{name}": value for name, value in params.items()}], TRIALS, tmp_path / "t")
    row = read_table(tmp_path / "t").to_pylist()[0]
    assert {name: row[f"config_{name}"] for name in PARAMS} == params


@pytest.mark.parametrize("schema", [TRIALS, EPOCHS, EVALUATIONS, FINALIST_SEEDS, embeddings_schema(3)])
def test_an_empty_table_keeps_its_schema(tmp_path, schema):
    write_table([], schema, tmp_path / "t")
    assert read_table(tmp_path / "t").schema.equals(schema)


def test_a_column_that_the_schema_lacks_is_our_own_mistake(tmp_path):
    with pytest.raises(AssertionError, match="val_sim"):
        write_table([{"val_sim": 1.0}], EPOCHS, tmp_path / "t")
    assert not list(tmp_path.iterdir())


def test_the_old_table_stays_when_writing_fails(tmp_path, monkeypatch):
    write_table([{"epoch": 1}], EPOCHS, tmp_path / "t")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tune.storage.tables.pq.write_table", full)
    with pytest.raises(StorageError, match="cannot write .*t: No space left on device"):
        write_table([{"epoch": 2}], EPOCHS, tmp_path / "t")
    assert read_table(tmp_path / "t")["epoch"].to_pylist() == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-20], lambda b: b"junk", lambda b: b""], ids=["cut", "junk", "empty"]
)
def test_a_damaged_file_is_one_clear_error(tmp_path, damage):
    path = tmp_path / "trials.parquet"
    write_table(
        pa.table({"epoch": [1]}, schema=pa.schema([("epoch", pa.int64())])),
        pa.schema([("epoch", pa.int64())]),
        path,
    )
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StorageError, match="cannot read .*trials.parquet"):
        read_table(path)


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(StorageError, match="cannot read .*trials.parquet: it does not exist"):
        read_table(tmp_path / "trials.parquet")


def test_a_frame_has_every_column_also_without_a_file_or_of_an_older_one(tmp_path):
    assert list(read_frame(tmp_path / "t", EPOCHS)) == EPOCHS.names
    older = pa.schema([("trial_id", pa.string()), ("removed", pa.int64())])
    write_table([{"trial_id": "a", "removed": 1}], older, tmp_path / "t")
    frame = read_frame(tmp_path / "t", EPOCHS)
    assert {*EPOCHS.names, "removed"} == set(frame)
    assert frame["trial_id"].tolist() == ["a"]
    assert frame["val_ssim"].isna().all()
