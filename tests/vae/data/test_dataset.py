"""Data sets, one's own images, splits."""

import io
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from vae.data import ImageSet, load_dataset
from vae.data.dataset import MIN_IMAGES
from vae.data.download import ARCHIVES
from vae.data.splits import split_validation
from vae.errors import StorageError, UsageError


def random_images(n: int, shape=(8, 8, 1), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def write_class(folder, images: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image.squeeze()).save(folder / f"{i:03}.png")


def labelled(counts: list[int]) -> ImageSet:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return ImageSet(torch.arange(len(labels) * 4).to(torch.uint8).reshape(-1, 1, 2, 2), labels)


# ---- the named data sets


def test_fashion_mnist_is_really_there_and_complete():
    dataset = load_dataset("fmnist")  # on a new machine this fetches it: CI relies on it
    assert dataset.train.images.shape == (60_000, 1, 28, 28)
    assert dataset.test.images.shape == (10_000, 1, 28, 28)
    assert dataset.train.images.dtype == torch.uint8
    assert dataset.train.images.is_contiguous()
    assert dataset.train.labels.bincount().tolist() == [6_000] * 10
    assert dataset.test.labels.bincount().tolist() == [1_000] * 10
    assert (
        dataset.class_names[dataset.train.labels[0]] == "Ankle boot"
    )  # the first image in the paper's Figure 1
    assert (
        round(dataset.train.images.double().mean().item() / 255, 4) == 0.2860
    )  # the mean that everyone quotes


def test_fashion_mnist_with_a_truncated_file_names_the_file(tmp_path):
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    for file in ARCHIVES["fmnist"].checksums:
        (folder / file).write_bytes(b"\x1f\x8b")
    with pytest.raises(StorageError, match=r"train-images-idx3-ubyte\.gz is damaged: 2 bytes .* delete it"):
        load_dataset("fmnist", tmp_path)


def test_digits_are_all_there_rescaled_to_bytes():
    dataset = load_dataset("digits")
    ours = torch.cat([dataset.train.images, dataset.test.images]).flatten(1).double().numpy()
    theirs = load_digits().data * 255 / 16
    assert len(ours) == len(theirs) == 1797
    assert np.abs(ours[np.lexsort(ours.T)] - np.round(theirs)[np.lexsort(np.round(theirs).T)]).max() == 0
    assert dataset.class_names == tuple("0123456789")
    assert dataset.train.image_shape == (1, 8, 8)


def test_the_held_out_part_of_digits_is_a_stratified_fifth_and_never_changes():
    first, second = load_dataset("digits"), load_dataset("digits")
    assert torch.equal(first.test.images, second.test.images)
    counts = first.train.labels.bincount() + first.test.labels.bincount()
    assert (first.test.labels.bincount() - counts * 0.2).abs().max() < 1
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fmnst", "unknown dataset 'fmnst': .*did you mean 'fmnist'"),
        ("no/such/folder", "unknown dataset 'no/such/folder': must be fmnist, mnist, digits, or the path"),
    ],
)
def test_an_unknown_name_is_refused_with_the_choices(name, message):
    with pytest.raises(UsageError, match=message):
        load_dataset(name)


# ---- one's own images


@pytest.mark.parametrize("shape", [(8, 8, 1), (64, 64, 3), (10, 12, 3)])
def test_a_folder_of_classes_keeps_pixels_and_labels(tmp_path, shape):
    images = {name: random_images(MIN_IMAGES, shape, seed) for seed, name in enumerate(["zebra", "ant"])}
    for name in images:
        write_class(tmp_path / "animals" / name, images[name])
    (tmp_path / "animals" / "ant" / "notes.txt").write_text("not an image")
    dataset = load_dataset(str(tmp_path / "animals"))
    assert dataset.name == "animals"
    assert dataset.class_names == ("ant", "zebra")
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]
    for part in (dataset.train, dataset.test):
        for image, label in zip(part.images, part.labels, strict=True):
            assert (image.permute(1, 2, 0).numpy() == images[dataset.class_names[label]]).all(
                (1, 2, 3)
            ).sum() == 1


def test_a_folder_with_train_and_test_keeps_them_apart(tmp_path):
    for part, n in (("train", MIN_IMAGES), ("test", 3)):
        for seed, name in enumerate(["a", "b"]):
            write_class(tmp_path / part / name, random_images(n, seed=seed))
    dataset = load_dataset(str(tmp_path))
    assert dataset.train.labels.tolist() == [0] * MIN_IMAGES + [1] * MIN_IMAGES
    assert dataset.test.labels.tolist() == [0] * 3 + [1] * 3
    assert np.array_equal(dataset.test.images[:3, 0], random_images(3, seed=0)[..., 0])


def test_a_folder_of_images_alone_is_unlabelled(tmp_path):
    images = random_images(MIN_IMAGES, (9, 8, 3))
    write_class(tmp_path / "mine", images)
    (tmp_path / "mine" / ".hidden.png").write_text("not an image")
    dataset = load_dataset(str(tmp_path / "mine"))
    assert dataset.train.labels is dataset.test.labels is None
    ours = torch.cat([dataset.train.images, dataset.test.images]).permute(0, 2, 3, 1).numpy()
    assert sorted(image.tobytes() for image in ours) == sorted(image.tobytes() for image in images)


def test_unlabelled_images_in_train_and_test_are_kept_apart(tmp_path):
    write_class(tmp_path / "train", random_images(MIN_IMAGES))
    write_class(tmp_path / "test", random_images(3, seed=1))
    dataset = load_dataset(str(tmp_path))
    assert np.array_equal(dataset.test.images[:, 0], random_images(3, seed=1)[..., 0])
    assert dataset.train.labels is dataset.test.labels is None


def test_images_beside_class_folders_are_left_out_with_a_warning(tmp_path, caplog):
    for seed, name in enumerate(["a", "b"]):
        write_class(tmp_path / name, random_images(MIN_IMAGES, seed=seed))
    Image.new("L", (300, 300)).save(tmp_path / "overview.png")
    assert len(load_dataset(str(tmp_path)).train) == 16
    assert "left out 1 image beside the class folders" in caplog.text


def test_of_images_that_are_refused_nothing_else_is_said(tmp_path, caplog):
    for seed, name in enumerate(["a", "b"]):
        write_class(tmp_path / name, random_images(MIN_IMAGES, seed=seed))
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    damaged = tmp_path / "b" / "damaged.png"
    damaged.write_bytes(b"not an image either")
    with pytest.raises(StorageError, match="damaged.png as an image"):
        load_dataset(str(tmp_path))
    assert not caplog.records
    damaged.unlink()
    load_dataset(str(tmp_path))
    assert "left out 1 file that is no image" in caplog.messages[0]


def test_a_palette_image_with_transparency_is_read_as_rgb(tmp_path):
    for name in ("a", "b"):
        write_class(tmp_path / name, random_images(MIN_IMAGES, (8, 8, 3)))
    picture = Image.new("P", (8, 8), color=1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    picture.save(tmp_path / "a" / "000.png", transparency=0)
    dataset = load_dataset(str(tmp_path))
    corners = torch.cat([dataset.train.images, dataset.test.images])[:, :, 0, 0].tolist()
    assert corners.count([10, 20, 30]) == 1


def test_an_npz_keeps_its_test_part_and_its_label_names(tmp_path):
    images, test_images = random_images(2 * MIN_IMAGES), random_images(4, seed=1)
    labels, test_labels = np.array(["cat", "dog"] * MIN_IMAGES), np.array(["dog", "dog", "cat", "cat"])
    path = tmp_path / "pets.npz"
    np.savez(path, images=images[..., 0], labels=labels, test_images=test_images, test_labels=test_labels)
    dataset = load_dataset(str(path))
    assert dataset.name == "pets"
    assert np.array_equal(dataset.train.images[:, 0], images[..., 0])
    assert [dataset.class_names[i] for i in dataset.train.labels] == labels.tolist()
    assert [dataset.class_names[i] for i in dataset.test.labels] == test_labels.tolist()


def test_floats_between_0_and_1_become_the_same_bytes(tmp_path):
    images = random_images(MIN_IMAGES)
    np.savez(tmp_path / "bytes.npz", images=images)
    np.savez(tmp_path / "floats.npz", images=(images / 255).astype(np.float32))
    as_bytes, as_floats = (load_dataset(str(tmp_path / f"{name}.npz")) for name in ("bytes", "floats"))
    assert torch.equal(as_bytes.train.images, as_floats.train.images)
    assert as_bytes.fingerprint == as_floats.fingerprint


def test_floats_are_rounded_to_the_nearest_byte(tmp_path):
    np.savez(tmp_path / "mine.npz", images=np.full((MIN_IMAGES, 8, 8), 254.6 / 255))
    assert load_dataset(str(tmp_path / "mine.npz")).train.images.unique().tolist() == [255]


def test_images_without_labels_are_split_too(tmp_path):
    np.savez(tmp_path / "mine.npz", images=random_images(50))
    dataset = load_dataset(str(tmp_path / "mine.npz"))
    assert (len(dataset.train), len(dataset.test)) == (40, 10)
    assert dataset.train.labels is dataset.test.labels is None
    assert dataset.class_names == ()


@pytest.mark.parametrize("change", ["pixel", "label", "shape"])
def test_the_fingerprint_changes_with(tmp_path, change):
    images, labels = random_images(40, (8, 16, 1)), np.arange(40) % 2
    np.savez(tmp_path / "before.npz", images=images, labels=labels)
    if change == "pixel":
        images[7, 3, 3] ^= 1
    elif change == "label":
        labels[[0, 1]] = labels[[1, 0]]
    else:
        images = images.reshape(40, 16, 8, 1)
    np.savez(tmp_path / "after.npz", images=images, labels=labels)
    before, after = (load_dataset(str(tmp_path / f"{name}.npz")) for name in ("before", "after"))
    assert before.fingerprint != after.fingerprint


N = 2 * MIN_IMAGES
TWO_CLASSES = np.arange(N) % 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": random_images(N)}, r"no array 'images', it has \['pictures'\]"),
        ({"images": random_images(N), "label": TWO_CLASSES}, "unknown array 'label'"),
        ({"images": random_images(N).reshape(N, 64)}, r"shape \(20, 64\), must be \(n, H, W\)"),
        ({"images": random_images(0)}, r"shape \(0, 8, 8, 1\), must be"),
        ({"images": random_images(N, (7, 8, 1))}, "image size 7x8x1 .* must be 8 to 64"),
        ({"images": random_images(N, (8, 65, 1))}, "image size 8x65x1 .* must be 8 to 64"),
        ({"images": random_images(N, (8, 8, 4))}, "image size 8x8x4 .* 1 or 3 channels"),
        ({"images": random_images(N) > 9}, "are bool, must be uint8"),
        ({"images": random_images(N) * 1.0}, "values from 0 to 255, floats must be in"),
        (
            {"images": random_images(N) * 1 - np.int64(9)},
            "values from -9 to 246, whole numbers must be in 0..255",
        ),
        (
            {"images": np.where(np.arange(N) == 5, np.nan, 0.5)[:, None, None] * np.ones((8, 8))},
            "NaN .* image 5",
        ),
        (
            {"images": random_images(N), "labels": TWO_CLASSES[:-1]},
            r"labels .* shape \(19,\), must be one label",
        ),
        ({"images": random_images(N), "labels": np.eye(N)}, r"labels .* shape \(20, 20\), must be one label"),
        ({"images": random_images(N), "labels": np.where(TWO_CLASSES, np.nan, 0)}, "labels .* contain NaN"),
        ({"images": random_images(N), "labels": TWO_CLASSES + 0.5}, "labels .* must be classes, .* got 0.5"),
        ({"images": random_images(N), "labels": TWO_CLASSES * 1j}, "labels .* are complex128, must be whole"),
        ({"images": random_images(N) % 2}, "whole numbers up to 1, where 255 is white"),
        (
            {
                "images": random_images(N),
                "labels": TWO_CLASSES,
                "test_images": random_images(2),
                "test_labels": np.array(["0", "1"]),
            },
            "has text and numbers as labels",
        ),
        ({"images": random_images(N), "labels": np.zeros(N)}, "has one class, '0'"),
        (
            {"images": random_images(N), "labels": np.arange(N) // 19},
            "class '1' .* has 1 training image, must have >= 10",
        ),
        ({"images": random_images(MIN_IMAGES - 1)}, "has 9 training images, must have >= 10"),
        (
            {"images": random_images(N), "test_images": random_images(5, (9, 9, 1))},
            "9x9x1, training images are 8x8x1",
        ),
        ({"images": random_images(N), "labels": TWO_CLASSES, "test_images": random_images(5)}, "needs both"),
        (
            {"images": random_images(N), "test_images": random_images(5), "test_labels": np.ones(5)},
            "without labels",
        ),
        (
            {
                "images": random_images(N),
                "labels": TWO_CLASSES,
                "test_images": random_images(2),
                "test_labels": np.array([0, 7]),
            },
            "class 7 is among the test labels in .*mine.npz, but not",
        ),
    ],
)
def test_an_npz_that_cannot_be_used_is_refused_with(tmp_path, arrays, message):
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset(str(tmp_path / "mine.npz"))
    assert not isinstance(caught.value, StorageError)


def test_an_npz_that_is_not_one_is_a_storage_error(tmp_path):
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, images=random_images(N))
    for name, content in {
        "empty": b"",
        "text": b"hello",
        "truncated": whole.read_bytes()[:-40],
        "flipped": whole.read_bytes()[:200] + b"\0\0\0\0" + whole.read_bytes()[204:],
    }.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(StorageError, match=rf"cannot read .*{name}\.npz"):
            load_dataset(str(path))
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, random_images(N))
    with pytest.raises(StorageError, match=r"cannot read .*array\.npz"):
        load_dataset(str(tmp_path / "array.npz"))


def test_an_npz_that_promises_more_than_it_holds_is_one_line_with_the_number(tmp_path):
    header = io.BytesIO()
    shape = (10**9, 28, 28)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(100))
    with pytest.raises(
        StorageError, match="which are 784,000,000,000 bytes, but holds 100; write it with numpy.savez"
    ):
        load_dataset(str(tmp_path / "mine.npz"))


def test_an_npz_that_is_larger_than_the_memory_is_one_line_with_the_number(tmp_path, monkeypatch):
    images, labels = random_images(N), np.arange(N) % 2
    np.savez_compressed(tmp_path / "mine.npz", images=images, labels=labels)
    n_bytes = images.nbytes + labels.nbytes
    monkeypatch.setattr("vae.data.npz.memory_bytes", lambda: 1000)
    monkeypatch.setattr("vae.data.memory.memory_bytes", lambda: 1000)
    message = f"its arrays are {n_bytes:,} bytes and need twice that, this machine has 1,000 bytes of memory"
    with pytest.raises(StorageError, match=message):
        load_dataset(str(tmp_path / "mine.npz"))

    def fail(*arguments, **options):
        raise MemoryError("Unable to allocate 730. GiB for an array")

    monkeypatch.undo()
    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(StorageError, match="cannot read .*mine.npz: Unable to allocate 730. GiB"):
        load_dataset(str(tmp_path / "mine.npz"))


def test_pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "mine.npz", images=np.array([{"a": 1}] * N, dtype=object))
    with pytest.raises(StorageError, match="cannot read"):
        load_dataset(str(tmp_path / "mine.npz"))


@pytest.fixture
def folder(tmp_path):
    """Two classes that are fine."""
    for seed, name in enumerate(["a", "b"]):
        write_class(tmp_path / "mine" / name, random_images(MIN_IMAGES, seed=seed))
    return tmp_path / "mine"


def test_an_image_of_another_size_is_named(folder):
    Image.fromarray(random_images(1, (9, 8, 1))[0, ..., 0]).save(folder / "b" / "004.png")
    with pytest.raises(UsageError, match=r"b/004\.png is 9x8x1, but .*a/000\.png is 8x8x1"):
        load_dataset(str(folder))


def test_an_image_that_cannot_be_read_is_named(folder):
    file = folder / "b" / "004.png"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(StorageError, match=r"cannot read .*b/004\.png as an image: "):
        load_dataset(str(folder))


def test_an_image_of_16_bits_is_refused(folder):
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(folder / "a" / "004.png")
    with pytest.raises(UsageError, match=r"a/004\.png has more than 8 bits"):
        load_dataset(str(folder))


def test_a_broken_header_is_one_line_too(folder, recwarn):
    file = folder / "b" / "004.png"
    content = file.read_bytes()
    for damaged in (
        b"",
        content[:8] + b"\0\0\0\x05" + content[12:],
        b"P5\n1",
        b"II*\0\x08\0\0\0\x01\0" + b"\x7f" * 20,
    ):
        file.write_bytes(damaged)
        with pytest.raises(StorageError, match=r"cannot read .*b/004\.png as an image: ") as caught:
            load_dataset(str(folder))
        assert "\n" not in str(caught.value)
    assert not recwarn.list


def test_a_class_without_images_is_named(folder):
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match="mine/empty has no images"):
        load_dataset(str(folder))


def test_a_class_with_too_few_images_is_named(folder):
    (folder / "b" / "000.png").unlink()
    with pytest.raises(UsageError, match="class 'b' .* has 9 training images, must have >= 10"):
        load_dataset(str(folder))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match="has neither class sub-folders nor images"):
        load_dataset(str(tmp_path))


def test_a_test_folder_with_other_classes_is_refused(tmp_path, folder):
    folder.rename(tmp_path / "train")
    write_class(tmp_path / "test" / "a", random_images(2))
    with pytest.raises(UsageError, match="class 'b' is in only one of"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize("size", [(65, 8), (8, 7)])
def test_an_image_too_large_or_too_small_is_named(folder, size):
    Image.new("L", size).save(folder / "b" / "004.png")
    with pytest.raises(UsageError, match=rf"b/004\.png: image size {size[1]}x{size[0]}x1 .* must be 8 to 64"):
        load_dataset(str(folder))


@pytest.mark.parametrize("extra", ["validation", None])
def test_a_folder_that_mixes_parts_and_classes_is_refused(tmp_path, folder, extra):
    folder.rename(tmp_path / ("train" if extra else "test"))
    if extra:
        (tmp_path / extra).mkdir()
    with pytest.raises(UsageError, match="it must have train and test, train alone, or classes"):
        load_dataset(str(tmp_path))


def test_a_file_of_another_kind_is_refused(folder):
    with pytest.raises(
        UsageError, match="must be a folder or an .npz, .npy or .parquet file, got a .png file"
    ):
        load_dataset(str(folder / "a" / "000.png"))


# ---- splits


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(8, 40), min_size=2, max_size=6),
    fraction=st.floats(0.15, 0.85),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_split_is_exhaustive_disjoint_stratified_and_repeatable(counts, fraction, seed):
    images = labelled(counts)
    split = split_validation(images, seed=seed, fraction=fraction)
    rows = torch.cat([split.train_index, split.validation_index])
    assert torch.equal(rows.sort().values, torch.arange(len(images)))
    assert len(split.validation) == round(len(images) * fraction)
    share = len(split.validation) / len(images)
    assert (split.validation.labels.bincount() - torch.tensor(counts) * share).abs().max() < 1
    for part, index in ((split.train, split.train_index), (split.validation, split.validation_index)):
        assert torch.equal(part.images, images.images[index])
        assert torch.equal(part.labels, images.labels[index])
    again = split_validation(images, seed=seed, fraction=fraction)
    assert torch.equal(again.validation_index, split.validation_index)


def test_another_seed_gives_another_split():
    images = labelled([50, 50])
    first, second = (split_validation(images, seed=seed).validation_index for seed in (0, 1))
    assert not torch.equal(first, second)


def test_unlabelled_images_are_split_at_random():
    images = ImageSet(labelled([60]).images, None)
    split = split_validation(images, seed=0)
    assert (len(split.train), len(split.validation)) == (50, 10)
    assert split.validation_index.tolist() != list(range(50, 60))
    assert split.train.labels is None


@pytest.mark.parametrize(
    ("counts", "fraction", "message"),
    [
        ([20, 1], 0.2, "class 1 has 1 image, must be >= 2"),
        ([2, 2, 2], 0.2, "cannot split 6 images of 3 classes into 5 and 1"),
        ([20, 20], 1.0, "fraction must be between 0 and 1, got 1"),
        ([20, 20], float("nan"), "fraction must be between 0 and 1, got nan"),
    ],
)
def test_a_split_that_cannot_be_made_is_refused(counts, fraction, message):
    with pytest.raises(UsageError, match=message):
        split_validation(labelled(counts), seed=0, fraction=fraction)


def test_a_subset_keeps_the_order_asked_for_and_leaves_the_set_alone():
    images = labelled([2, 2])
    part = images.subset(torch.tensor([3, 0]))
    assert part.labels.tolist() == [1, 0]
    assert torch.equal(part.images[0], images.images[3])
    assert len(images) == 4
