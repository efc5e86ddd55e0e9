"""`python -m vae embed`: what it writes, and what it refuses with nothing written."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import vae
from vae.__main__ import main
from vae.commands import embed
from vae.data import stream
from vae.errors import StorageError, UsageError

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    options = {"latent_dim": 3, "width": 0.1, "max_epochs": 1, "device": "cpu", "progress": False}
    vae.train("digits", **options).save(directory)
    return directory


def run(model, images, output):
    return main(["embed", str(model), str(images), "--output", str(output), "--device", "cpu"])


def test_a_row_has_source_embedding_and_error_of_an_image(model, tmp_path, capsys):
    np.savez(tmp_path / "own.npz", images=IMAGES)
    assert run(model, tmp_path / "own.npz", tmp_path / "new.parquet") == 0
    assert "11 images in 3 dimensions: " in capsys.readouterr().out
    table = pq.read_table(tmp_path / "new.parquet")
    assert table.schema.types == [pa.string(), pa.list_(pa.float32(), 3), pa.float32()]
    frame = table.to_pandas()
    loaded = vae.load(model, device="cpu")
    assert frame["source"].tolist() == [f"images/{row}" for row in range(11)]
    np.testing.assert_allclose(np.stack(frame["embedding"]), loaded.embed(IMAGES), rtol=1e-5)
    errors = (loaded.reconstruct(IMAGES) - IMAGES / 255.0) ** 2
    np.testing.assert_allclose(frame["reconstruction_mse"], errors.mean(axis=(1, 2)), rtol=1e-5)


def test_many_chunks_make_the_same_table(model, tmp_path, monkeypatch):
    np.savez(tmp_path / "own.npz", images=IMAGES)
    run(model, tmp_path / "own.npz", tmp_path / "one.parquet")
    monkeypatch.setattr(stream, "CHUNK", 2)
    monkeypatch.setattr(embed, "ROWS_PER_GROUP", 5)
    run(model, tmp_path / "own.npz", tmp_path / "many.parquet")
    assert pq.read_metadata(tmp_path / "many.parquet").num_row_groups == 2
    one, many = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("one", "many"))
    assert one["source"].equals(many["source"])
    np.testing.assert_allclose(np.stack(one["embedding"]), np.stack(many["embedding"]), rtol=1e-4)


def test_the_api_embeds_a_path_of_one_image_as_the_command_does(model, tmp_path):
    Image.fromarray(IMAGES[0]).save(tmp_path / "one.png")
    loaded = vae.load(model, device="cpu")
    np.testing.assert_array_equal(loaded.embed(tmp_path / "one.png"), loaded.embed(IMAGES[:1]))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("new.csv", "--output must be a .parquet file"),
        ("there.parquet", "exists already; delete it or choose another name"),
        ("none/new.parquet", "where new.parquet would go, is no folder; make it first"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_the_model_is_read(tmp_path, output, message):
    (tmp_path / "there.parquet").touch()
    with pytest.raises(UsageError, match=message):
        run("no-model", "digits", tmp_path / output)


def test_an_image_that_cannot_be_used_leaves_no_file(model, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "CHUNK", 4)
    images = IMAGES / 255.0
    images[-1] = np.nan
    np.savez(tmp_path / "own.npz", images=images)
    with pytest.raises(UsageError, match="from image 8 on contain NaN"):
        run(model, tmp_path / "own.npz", tmp_path / "new.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["own.npz"]


def test_a_damaged_image_leaves_no_file(model, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(StorageError, match=r"cannot read .*broken.png as an image"):
        run(model, tmp_path / "broken.png", tmp_path / "new.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["broken.png"]
