"""Images of every source, in chunks, under names that lead back to them."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from vae.data import load_dataset, stream
from vae.data.stream import stream_images
from vae.errors import StorageError, UsageError

GREY = (1, 8, 8)
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 8, 8), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(stream, "CHUNK", 3)


def read(source, image_shape=GREY):
    """Return all images (n, H, W) and their sources, and check that the chunks are as long as they may be."""
    found = stream_images(source, image_shape)
    chunks = list(found.chunks)
    images = torch.cat([chunk.images for chunk in chunks])
    sources = [name for chunk in chunks for name in chunk.sources]
    assert found.n_images == len(images) == len(sources)
    assert max(len(chunk.images) for chunk in chunks) <= 3
    return images[:, 0].numpy(), sources


def encoded(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def save(image, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file)


def test_a_folder_gives_the_images_at_any_depth_by_their_paths(tmp_path):
    names = ["a/1.png", "a/b/2.png", "c.png", "d.png"]
    for name, image in zip(names, IMAGES, strict=False):
        save(image, tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    save(IMAGES[6], tmp_path / ".thumbnails" / "1.png")
    images, sources = read(tmp_path)
    assert sources == names
    assert np.array_equal(images, IMAGES[:4])


def test_a_file_is_one_image(tmp_path):
    save(IMAGES[0], tmp_path / "one.png")
    images, sources = read(str(tmp_path / "one.png"))
    assert sources == ["one.png"]
    assert np.array_equal(images, IMAGES[:1])


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "form", [IMAGES, IMAGES / 255, np.asfortranarray(IMAGES), IMAGES.astype(">i4"), IMAGES[..., None]]
)
def test_the_blocks_of_an_npz_are_what_numpy_reads(tmp_path, write, form):
    write(tmp_path / "own.npz", labels=np.arange(7), images=form, test_images=form[:2])
    images, sources = read(tmp_path / "own.npz")
    assert np.array_equal(images, np.concatenate([IMAGES, IMAGES[:2]]))
    assert sources == [*(f"images/{row}" for row in range(7)), "test_images/0", "test_images/1"]


def test_a_later_chunk_may_be_almost_black(tmp_path):
    images = IMAGES.copy()
    images[3:6] = 1
    np.savez(tmp_path / "own.npz", images=images)
    assert np.array_equal(read(tmp_path / "own.npz")[0], images)


def test_parquet_gives_the_paths_that_it_has_and_numbers_other_rows(tmp_path):
    column = [{"bytes": encoded(image), "path": f"{row}.png"} for row, image in enumerate(IMAGES[:4])]
    column[2]["path"] = None
    pq.write_table(pa.table({"label": range(4), "image": column}), tmp_path / "train-0.parquet")
    pq.write_table(pa.table({"img": IMAGES[4:].tolist()}), tmp_path / "test-0.parquet")
    images, sources = read(tmp_path)
    assert sources == [
        *("test-0.parquet/0", "test-0.parquet/1", "test-0.parquet/2"),
        *("0.png", "1.png", "train-0.parquet/2", "3.png"),
    ]
    assert np.array_equal(images, np.concatenate([IMAGES[4:], IMAGES[:4]]))


def test_tensors_in_parquet_are_read_too(tmp_path):
    pq.write_table(
        pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(IMAGES)}), tmp_path / "t.parquet"
    )
    images, sources = read(tmp_path / "t.parquet")
    assert np.array_equal(images, IMAGES)
    assert sources[-1] == "t.parquet/6"


def test_a_known_data_set_gives_both_parts():
    digits = load_dataset("digits")
    images, sources = read("digits")
    assert np.array_equal(images, torch.cat([digits.train.images, digits.test.images])[:, 0].numpy())
    assert [sources[0], sources[-1]] == ["train/0", "test/358"]


def test_colour_is_kept(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    save(image, tmp_path / "photo.png")
    [chunk] = stream_images(tmp_path, (3, 8, 10)).chunks
    assert np.array_equal(chunk.images[0].permute(1, 2, 0).numpy(), image)


def test_grey_images_become_colour_for_a_model_of_colour(tmp_path):
    save(IMAGES[0], tmp_path / "grey.png")
    [chunk] = stream_images(tmp_path, (3, 8, 8)).chunks
    assert np.array_equal(chunk.images[0].numpy(), np.stack([IMAGES[0]] * 3))


def test_images_of_any_size_are_resized_as_a_data_set_is(tmp_path):
    for number, side in enumerate((20, 40) * 5):
        save(
            np.random.default_rng(number).integers(0, 256, (side, 30), dtype=np.uint8),
            tmp_path / f"{number}.png",
        )
    chunks = stream_images(tmp_path, GREY, resize=8).chunks
    streamed = torch.cat([chunk.images for chunk in chunks])
    dataset = load_dataset(tmp_path, resize=8)
    both = torch.cat([dataset.train.images, dataset.test.images])
    assert {image.numpy().tobytes() for image in streamed} == {image.numpy().tobytes() for image in both}


def npz(file: Path, **arrays):
    np.savez(file / "own.npz", **arrays)
    return file / "own.npz"


def two_sizes(folder):
    save(IMAGES[0], folder / "a.png")
    save(np.zeros((9, 9), dtype=np.uint8), folder / "b.png")
    return folder


def colour(folder):
    save(np.zeros((8, 8, 3), dtype=np.uint8), folder / "a.png")
    return folder


def parquet_of_names(folder):
    pq.write_table(pa.table({"name": ["x"]}), folder / "own.parquet")
    return folder


def no_rows(folder):
    pq.write_table(pa.table({"image": IMAGES[:0].tolist()}), folder / "own.parquet")
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder, "has no images (.bmp, .gif,"),
        (lambda folder: folder / "none", "unknown dataset"),
        (two_sizes, "b.png is 9x9x1, but"),
        (
            colour,
            "is 8x8x3 (height x width x channels), the model was trained on 8x8x1; make the images grey",
        ),
        (lambda folder: npz(folder, pictures=IMAGES), "has no array of images; name it 'images'"),
        (lambda folder: npz(folder, images=IMAGES[0]), "images in"),
        (lambda folder: npz(folder, images=np.zeros((2, 9, 8))), "is 9x8x1 (height x width x channels)"),
        (lambda folder: npz(folder, images=np.zeros((2, 99, 8))), "must be 8 to 64 pixels a side"),
        (lambda folder: npz(folder, images=np.full((5, 8, 8), [[np.nan]])), "contain NaN or infinity"),
        (parquet_of_names, "has no column 'image', it has ['name']"),
        (no_rows, "has no rows"),
    ],
)
def test_what_holds_no_such_images_is_refused(tmp_path, make, message):
    with pytest.raises(UsageError) as raised:
        read(make(tmp_path))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def flipped(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 255
    file.write_bytes(content)


def cut(file):
    file.write_bytes(file.read_bytes()[:-400])


def longer_than_it_is(folder):
    with zipfile.ZipFile(folder / "own.npz", "w") as archive, archive.open("images.npy", "w") as f:
        np.lib.format.write_array_header_1_0(
            f, {"shape": (9**9, 8, 8), "fortran_order": False, "descr": "|u1"}
        )
        f.write(IMAGES.tobytes())


def objects(folder):
    np.savez(folder / "own.npz", images=np.array([None, 1], dtype=object))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: flipped(npz(folder, images=IMAGES), 400),
        lambda folder: cut(npz(folder, images=IMAGES)),
        longer_than_it_is,
        objects,
        lambda folder: (folder / "own.parquet").write_bytes(b"PAR1 no more"),
        lambda folder: (folder / "own.png").write_bytes(encoded(IMAGES[0])[:50]),
    ],
)
def test_a_damaged_file_is_a_storage_error(tmp_path, damage):
    damage(tmp_path)
    [file] = tmp_path.iterdir()
    with pytest.raises(StorageError, match="cannot read") as raised:
        read(file)
    assert "\n" not in str(raised.value)
