"""One's own images in Parquet, in the forms that Hugging Face, pyarrow, polars and pandas write."""

import io
import json

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from vae.data import Dataset, load_dataset
from vae.data.dataset import MIN_IMAGES
from vae.errors import StorageError, UsageError

N = 2 * MIN_IMAGES
LABELS = np.arange(N) % 2


def random_images(n: int = N, shape=(8, 10, 3), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "PNG")
    return file.getvalue()


def encoded(images: np.ndarray) -> list[dict]:
    """As Hugging Face's `datasets` stores them."""
    return [{"bytes": png(image), "path": f"{i}.png"} for i, image in enumerate(images)]


def write(path, columns: dict, class_names=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if class_names:
        features = {"image": {"_type": "Image"}, "label": {"names": class_names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, **options)
    return path


def load(path) -> Dataset:
    return load_dataset(str(path))


def assert_same_images(dataset: Dataset, images: np.ndarray, labels: np.ndarray | None = LABELS) -> None:
    """Each image is there once, with its label, in one of the parts."""
    ours = torch.cat([dataset.train.images, dataset.test.images]).permute(0, 2, 3, 1).numpy()
    place = {image.tobytes(): i for i, image in enumerate(images)}
    found = [place[image.tobytes()] for image in np.ascontiguousarray(ours)]
    assert sorted(found) == list(range(len(images)))
    if labels is not None:
        assert torch.cat([dataset.train.labels, dataset.test.labels]).tolist() == labels[found].tolist()


def lists(images: np.ndarray) -> list:
    return images.tolist()


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(encoded, id="structs of bytes and path"),
        pytest.param(lambda images: [png(image) for image in images], id="bytes"),
        pytest.param(lists, id="nested lists of int64"),
        pytest.param(lambda images: lists(images / 255), id="nested lists of floats"),
        pytest.param(pa.FixedShapeTensorArray.from_numpy_ndarray, id="tensors"),
        pytest.param(
            lambda images: pa.FixedShapeTensorArray.from_numpy_ndarray(
                np.asfortranarray(images.transpose(3, 1, 2, 0)).transpose(3, 1, 2, 0)
            ),
            id="tensors with another order of axes in memory",
        ),
        pytest.param(lambda images: pl.Series(images).to_arrow(), id="polars arrays"),
    ],
)
def test_pixels_and_labels_are_those_that_were_written_as(tmp_path, form):
    images = random_images()
    path = write(tmp_path / "mine.parquet", {"image": form(images), "label": LABELS}, row_group_size=7)
    dataset = load(path)
    assert dataset.name == "mine"
    assert dataset.class_names == ("0", "1")
    assert_same_images(dataset, images)


def test_grey_images_may_be_flat_lists_if_they_are_square(tmp_path):
    images = random_images(shape=(9, 9, 1))
    path = write(tmp_path / "mine.parquet", {"image": images.reshape(N, 81).tolist(), "label": LABELS})
    assert_same_images(load(path), images)


def test_all_formats_of_the_same_images_have_one_fingerprint(tmp_path):
    images = random_images()
    np.savez(tmp_path / "mine.npz", images=images, labels=LABELS)
    for i, image in enumerate(images):
        (tmp_path / "folder" / str(i % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "folder" / str(i % 2) / f"{i:02}.png")
    order = np.argsort(LABELS, kind="stable")  # the folder's
    np.savez(tmp_path / "sorted.npz", images=images[order], labels=LABELS[order])
    path = write(tmp_path / "mine.parquet", {"image": encoded(images), "label": LABELS})
    assert load(path).fingerprint == load(tmp_path / "mine.npz").fingerprint
    assert load(tmp_path / "folder").fingerprint == load(tmp_path / "sorted.npz").fingerprint


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (pa.array(["cat", "dog"] * MIN_IMAGES), ("cat", "dog")),
        (pa.array(["cat", "dog"] * MIN_IMAGES).dictionary_encode(), ("cat", "dog")),
        (pa.array(["cat", "dog"] * MIN_IMAGES, pa.large_string()), ("cat", "dog")),
        (pa.array([3, 20] * MIN_IMAGES, pa.uint8()), ("3", "20")),
        (pa.array([0.0, 1.0] * MIN_IMAGES), ("0", "1")),
        (pa.array([False, True] * MIN_IMAGES), ("False", "True")),
    ],
)
def test_labels_may_be(tmp_path, labels, names):
    images = random_images()
    dataset = load(write(tmp_path / "mine.parquet", {"image": encoded(images), "label": labels}))
    assert dataset.class_names == names
    assert_same_images(dataset, images)


def test_cifar_100_has_its_fine_labels(tmp_path, caplog):
    caplog.set_level("INFO")
    names = ["apple", "trout"]
    columns = {"img": encoded(random_images()), "fine_label": LABELS, "coarse_label": np.zeros(N, int)}
    features = {
        "img": {"_type": "Image"},
        "fine_label": {"names": names, "_type": "ClassLabel"},
        "coarse_label": {"names": ["living"], "_type": "ClassLabel"},
    }
    table = pa.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    for part in ("train", "test"):
        pq.write_table(table, tmp_path / f"{part}-00000-of-00001.parquet")
    dataset = load(tmp_path)
    assert dataset.class_names == ("apple", "trout")
    assert dataset.train.labels.tolist() == LABELS.tolist()
    assert "the labels are those of the column 'fine_label'; to use coarse_label, rename it" in caplog.text


def test_a_column_that_may_hold_labels_is_named_if_none_is_found(tmp_path, caplog):
    columns = {"image": encoded(random_images()), "target": LABELS}
    assert load(write(tmp_path / "mine.parquet", columns)).train.labels is None
    assert "has no column 'label', it has image, target: its images are unlabelled" in caplog.text
    assert "to use target, rename it to label" in caplog.text


@pytest.mark.parametrize("inside", ["data", "plain_text"])
def test_a_folder_is_read_as_hugging_face_leaves_it(tmp_path, inside, caplog):
    caplog.set_level("INFO")
    images = random_images(N + 6)
    for part, rows in {
        "train": slice(0, N),
        "validation": slice(N, N + 2),
        "test": slice(N + 2, None),
    }.items():
        columns = {"img": encoded(images[rows]), "coarse_label": np.arange(N + 6)[rows] % 2}
        write(tmp_path / "pets" / inside / f"{part}-00000-of-00001.parquet", columns)
    (tmp_path / "pets" / "README.md").write_text("a card")
    dataset = load(tmp_path / "pets")
    assert dataset.name == "pets"
    assert np.array_equal(dataset.train.images.permute(0, 2, 3, 1), images[: N + 2])
    assert np.array_equal(dataset.test.images.permute(0, 2, 3, 1), images[N + 2 :])
    assert "its validation images join the training images" in caplog.text


def test_class_names_that_hugging_face_has_noted_are_used(tmp_path):
    columns = {"image": encoded(random_images()), "label": np.where(LABELS, 7, 2)}
    path = write(tmp_path / "mine.parquet", columns, class_names=[f"class {i}" for i in range(10)])
    assert load(path).class_names == ("class 2", "class 7")


def test_without_labels_the_images_are_unlabelled(tmp_path):
    dataset = load(write(tmp_path / "mine.parquet", {"image": encoded(random_images())}))
    assert dataset.train.labels is dataset.test.labels is None
    assert (len(dataset.train), len(dataset.test)) == (16, 4)


def test_a_split_column_says_which_images_are_the_test(tmp_path):
    images = random_images(N + 4)
    split = ["test"] * 2 + ["train"] * N + ["test"] * 2
    columns = {"image": encoded(images), "label": np.arange(N + 4) % 2, "split": split}
    dataset = load(write(tmp_path / "mine.parquet", columns))
    assert np.array_equal(dataset.test.images.permute(0, 2, 3, 1), images[[0, 1, -2, -1]])
    assert dataset.test.labels.tolist() == [0, 1, 0, 1]
    assert np.array_equal(dataset.train.images.permute(0, 2, 3, 1), images[2:-2])


def test_a_folder_of_files_by_part_is_read_in_their_order(tmp_path):
    images, names = random_images(N + 4), ["cat", "dog"]
    for file, rows in {
        "train-00000-of-00002": slice(0, 6),
        "train-00001-of-00002": slice(6, N),
        "test-00000-of-00001": slice(N, N + 4),
    }.items():
        columns = {"image": encoded(images[rows]), "label": (np.arange(N + 4) % 2)[rows]}
        write(tmp_path / "pets" / f"{file}.parquet", columns, class_names=names)
    dataset = load(tmp_path / "pets")
    assert (dataset.name, dataset.class_names) == ("pets", ("cat", "dog"))
    assert np.array_equal(dataset.train.images.permute(0, 2, 3, 1), images[:N])
    assert np.array_equal(dataset.test.images.permute(0, 2, 3, 1), images[N:])
    assert dataset.test.labels.tolist() == [0, 1, 0, 1]


def test_a_folder_of_files_with_other_names_is_one_part(tmp_path):
    images = random_images()
    for i in range(2):
        rows = slice(i * MIN_IMAGES, (i + 1) * MIN_IMAGES)
        write(
            tmp_path / "mine" / f"part-{i}.parquet", {"image": encoded(images[rows]), "label": LABELS[rows]}
        )
    assert_same_images(load(tmp_path / "mine"), images)


# ---- what cannot be used

IMAGES = random_images()
GOOD = encoded(IMAGES)
BAD_SIZE = GOOD[:4] + encoded(random_images(1, (9, 10, 3))) + GOOD[5:]
RAGGED = [*lists(IMAGES[:4]), lists(IMAGES[4, :-1]), *lists(IMAGES[5:])]
HOLE = lists(IMAGES[:, :, :, :1].astype(object))
HOLE[4][7][0][0] = None


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"picture": GOOD}, r"mine\.parquet has no column 'image', it has \['picture'\]"),
        ({"image": pa.array([], pa.binary())}, "has no rows"),
        ({"image": [*GOOD[:3], None, *GOOD[4:]]}, "row 3 of column 'image' .* is missing; drop the row"),
        ({"image": [*GOOD[:3], {"bytes": None, "path": "3.png"}, *GOOD[4:]]}, "row 3 .* not only its path"),
        ({"image": [f"{i}.png" for i in range(N)]}, "is string, must be encoded images or nested lists"),
        ({"image": BAD_SIZE}, "row 4 of column 'image' .* is 9x10x3, but row 0 .* is 8x10x3; make all"),
        ({"image": encoded(random_images(shape=(8, 65, 3)))}, "row 0 .*: image size 8x65x3 .* 8 to 64"),
        ({"image": RAGGED}, "row 4 of column 'image' .* has another size than row 0"),
        ({"image": HOLE}, "row 4 of column 'image' .* has a missing number"),
        ({"image": lists(IMAGES[..., 0].astype(str))}, "has lists of string, must be numbers"),
        ({"image": lists(IMAGES.reshape(N, -1))}, "has flat lists of 240 numbers, .* nest them"),
        ({"image": lists(IMAGES.transpose(0, 3, 1, 2))}, r"image size 3x8x10 \(height x width x channels\)"),
        ({"image": lists(IMAGES * 1.0)}, "values from 0 to 255, floats must be in"),
        (
            {"image": lists(np.where(LABELS[:, None, None] == 1, np.nan, IMAGES[..., 0] / 255))},
            "NaN .* image 1",
        ),
        ({"image": lists(IMAGES % 2)}, "whole numbers up to 1, where 255 is white"),
        ({"image": GOOD, "label": [*[0, 1] * 9, None, 1]}, "row 18 of column 'label' .* is missing; fill it"),
        ({"image": GOOD, "label": LABELS + 0.5}, "column 'label' .* must be classes, .* got 0.5"),
        ({"image": GOOD, "label": [[0]] * N}, "column 'label' .* is list<.*, must be whole numbers or names"),
        ({"image": GOOD, "label": [1] * N}, "has one class, '1'"),
        (
            {"image": GOOD, "split": ["train"] * 19 + ["valid"]},
            "row 19 of column 'split' .* is 'valid', must",
        ),
        ({"image": GOOD, "split": ["train"] * 19 + [None]}, "row 19 of column 'split' .* is None, must"),
        ({"image": GOOD, "split": ["test"] * N}, "has rows of the split test only"),
        (
            {"image": GOOD * 2, "label": [0, 1] * 19 + [0, 2], "split": ["train"] * 38 + ["test"] * 2},
            "class 2 is among the test labels in .*, but not among the training labels",
        ),
    ],
)
def test_a_file_is_refused_with(tmp_path, columns, message):
    with pytest.raises(UsageError, match=message) as caught:
        load(write(tmp_path / "mine.parquet", columns))
    assert not isinstance(caught.value, StorageError)


def test_a_label_without_a_name_is_refused(tmp_path):
    columns = {"image": GOOD, "label": LABELS - 1}
    with pytest.raises(
        UsageError, match="row 0 of column 'label' .* is -1, must be 0 to 1 .* 'cat' to 'dog'"
    ):
        load(write(tmp_path / "mine.parquet", columns, class_names=["cat", "dog"]))


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (
            {"image": encoded(random_images(4, (9, 9, 3))), "label": [0, 1] * 2},
            "test.parquet are 9x9x3, those in .*train.parquet are 8x10x3",
        ),
        ({"image": GOOD}, "must both have a column 'label'"),
        (
            {"image": GOOD, "label": ["a", "b"] * MIN_IMAGES},
            "must both have a column 'label' of text, or both",
        ),
    ],
)
def test_files_that_do_not_go_together_are_refused(tmp_path, test, message):
    write(tmp_path / "mine" / "train.parquet", {"image": GOOD, "label": LABELS})
    write(tmp_path / "mine" / "test.parquet", test)
    with pytest.raises(UsageError, match=message):
        load(tmp_path / "mine")


@pytest.mark.parametrize(
    ("files", "odd"), [(["train", "other"], "other.parquet"), (["test"], "test.parquet")]
)
def test_files_of_other_parts_are_refused(tmp_path, files, odd):
    for file in files:
        write(tmp_path / "mine" / f"{file}.parquet", {"image": GOOD})
    with pytest.raises(UsageError, match=f"has the file {odd}, but its parts must be train"):
        load(tmp_path / "mine")


def test_a_broken_image_is_named_by_its_row(tmp_path):
    broken = [*GOOD[:3], {"bytes": GOOD[3]["bytes"][:60], "path": "3.png"}, *GOOD[4:]]
    with pytest.raises(
        StorageError, match=r"cannot read row 3 of column 'image' .*mine\.parquet as an image: "
    ):
        load(write(tmp_path / "mine.parquet", {"image": broken}))
    broken[3] = {"bytes": b"", "path": "3.png"}
    with pytest.raises(
        StorageError, match="row 3 .* as an image: its format is not known; replace"
    ) as caught:
        load(write(tmp_path / "mine.parquet", {"image": broken}))
    assert "BytesIO" not in str(caught.value)


def test_a_file_that_is_not_parquet_is_a_storage_error(tmp_path):
    content = write(tmp_path / "whole.parquet", {"image": GOOD}).read_bytes()
    for name, damaged in {"empty": b"", "text": b"hello", "truncated": content[:-40]}.items():
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match=rf"cannot read .*{name}\.parquet as Parquet: "):
            load(path)
