"""Groups stay whole in every split, and each image says where it is from."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from vae.data import ImageSet, dataset_from_arrays, load_dataset, save_arrays
from vae.data.splits import group_folds, hold_out_test, near_copy_share, split_validation
from vae.errors import UsageError


def grouped(n_groups: int, per_group: int = 6, n_classes: int = 2) -> ImageSet:
    """Each group has images of one class."""
    groups = torch.arange(n_groups).repeat_interleave(per_group)
    images = torch.arange(len(groups) * 64, dtype=torch.int64).remainder(251).to(torch.uint8)
    return ImageSet(images.reshape(-1, 1, 8, 8), groups % n_classes, groups)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("fraction", "n_groups"), [(1 / 6, 60), (1 / 5, 30), (0.5, 12), (0.75, 24)])
def test_groups_are_on_one_side_and_the_parts_alike_in_classes(seed, fraction, n_groups):
    images = grouped(n_groups)
    split = split_validation(images, seed=seed, fraction=fraction)
    rows = torch.cat([split.train_index, split.validation_index])
    assert torch.equal(rows.sort().values, torch.arange(len(images)))
    assert not set(split.train.groups.tolist()) & set(split.validation.groups.tolist())
    assert len(split.validation) / len(images) == pytest.approx(fraction, abs=0.09)
    assert split.validation.labels.double().mean() == pytest.approx(0.5, abs=0.1)
    again = split_validation(images, seed=seed, fraction=fraction)
    assert torch.equal(again.validation_index, split.validation_index)


def test_groups_without_labels_stay_whole_too():
    images = grouped(30)
    split = hold_out_test(ImageSet(images.images, None, images.groups))
    assert not set(split.train.groups.tolist()) & set(split.validation.groups.tolist())
    assert len(split.validation) == len(images) / 5


def test_folds_keep_groups_whole_and_every_fold_has_images():
    images = grouped(20)
    folds = group_folds(images.labels.numpy(), images.groups.numpy(), 5, seed=0)
    assert sorted(np.bincount(folds)) == [24] * 5
    for group in range(20):
        assert len(set(folds[images.groups.numpy() == group])) == 1


@pytest.mark.parametrize(
    ("n_groups", "message"),
    [
        (3, "cannot split: all images of class 1 are of one group"),
        (1, "cannot split: all images are of one group"),
    ],
)
def test_groups_that_leave_a_class_out_of_a_part_are_refused(n_groups, message):
    with pytest.raises(UsageError, match=message):
        split_validation(grouped(n_groups, per_group=20, n_classes=min(2, n_groups)), seed=0)


# ---- where groups come from


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8), dtype=np.uint8)


PATIENTS = np.repeat([f"patient {i}" for i in range(20)], 3)
LABELS = np.repeat(np.arange(20) % 2, 3)


def test_groups_of_an_npz_and_of_parquet_give_the_same_parts(tmp_path):
    images = noise(60)
    np.savez(tmp_path / "a.npz", images=images, labels=LABELS, groups=PATIENTS)
    pq.write_table(
        pa.table({"image": images.tolist(), "label": LABELS, "group": PATIENTS}), tmp_path / "a.parquet"
    )
    first, second = load_dataset(tmp_path / "a.npz"), load_dataset(tmp_path / "a.parquet")
    assert first.fingerprint == second.fingerprint
    assert not set(first.train.groups.tolist()) & set(first.test.groups.tolist())
    without = dataset_from_arrays(images, LABELS)
    assert without.fingerprint != first.fingerprint


def test_groups_of_a_data_set_are_kept_with_its_labels(tmp_path):
    np.savez(tmp_path / "a.npz", images=noise(60), labels=LABELS, groups=PATIENTS)
    dataset = load_dataset(tmp_path / "a.npz")
    save_arrays(tmp_path / "kept.npz", dataset)
    again = dataset_from_arrays(dataset)
    assert again.fingerprint == load_dataset(tmp_path / "kept.npz").fingerprint
    assert again.class_names == dataset.class_names
    assert not set(again.train.groups.tolist()) & set(again.test.groups.tolist())


def test_a_group_in_both_of_training_and_test_is_warned_of(tmp_path, caplog):
    parts = dict(images=noise(60), groups=PATIENTS, test_images=noise(3, 1))
    np.savez(tmp_path / "a.npz", **parts, test_groups=np.array(["patient 3", "patient 3", "new"]))
    load_dataset(tmp_path / "a.npz")
    assert "images of 1 of the groups are in both of the training and the test part" in caplog.text


def frames(seed: int) -> np.ndarray:
    """20 videos of 3 frames: one scene each, with the camera's noise."""
    seen = np.repeat(noise(20, seed).astype(int), 3, axis=0)
    return (seen + np.random.default_rng(seed).integers(-5, 6, seen.shape)).clip(0, 255).astype(np.uint8)


def test_the_share_of_near_copies_is_that_of_their_definition():
    parts = [torch.from_numpy(images[:, None]) for images in (frames(7)[::2], frames(7)[1::2], noise(30, 8))]
    train, test = ImageSet(parts[0], None), ImageSet(torch.cat(parts[1:]), None)
    train_points, test_points = (part.images.flatten(1).double() for part in (train, test))
    distances = (test_points[:, None] - train_points).square().sum(2).sqrt()
    expected = (distances.amin(1) <= 0.2 * distances.median()).double().mean()
    assert 0.4 < expected < 0.6
    assert near_copy_share(train, test) == pytest.approx(float(expected))


def test_frames_of_videos_are_warned_of_once_and_groups_are_the_way_out(tmp_path, caplog):
    np.savez(tmp_path / "a.npz", images=frames(9))
    load_dataset(tmp_path / "a.npz")
    assert "a.npz: 100 % of the test images have a near copy among the training images" in caplog.text
    caplog.clear()
    load_dataset(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=frames(10), groups=PATIENTS)
    load_dataset(tmp_path / "b.npz")
    dataset_from_arrays(noise(60, 11))
    dataset_from_arrays(np.zeros((60, 8, 8)))
    assert "near copy" not in caplog.text


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (PATIENTS[:-1], r"groups in .*a\.npz have shape \(59,\), must be one group per image: \(60,\)"),
        (np.full(60, np.nan), "contain NaN"),
    ],
)
def test_groups_that_are_none_are_refused(tmp_path, groups, message):
    np.savez(tmp_path / "a.npz", images=noise(60), groups=groups)
    with pytest.raises(UsageError, match=message):
        load_dataset(tmp_path / "a.npz")


# ---- where each image is from


def check_sources(dataset, image_of) -> None:
    """Each source leads to the image that it names."""
    for part, sources in zip((dataset.train, dataset.test), dataset.sources, strict=True):
        texts = sources.to_list()
        assert len(texts) == len(part) == len(set(texts))
        for text, image in zip(texts, part.images[:, 0].numpy(), strict=True):
            assert np.array_equal(image_of(text), image), text


def test_a_source_is_a_path_below_the_folder(tmp_path):
    images = noise(24)
    for i, image in enumerate(images):
        file = tmp_path / "cat" / f"{i}.png" if i % 2 else tmp_path / "dog" / "far away" / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    dataset = load_dataset(tmp_path)
    check_sources(dataset, lambda text: np.asarray(Image.open(tmp_path / text)))
    assert "cat/1.png" in {text for part in dataset.sources for text in part.to_list()}


def test_a_source_is_a_row_of_an_array(tmp_path):
    arrays = dict(images=noise(30), test_images=noise(4, 1))
    np.savez(tmp_path / "a.npz", **arrays)
    row = lambda text: arrays[text.split("/")[0]][int(text.split("/")[1])]  # noqa: E731
    check_sources(load_dataset(tmp_path / "a.npz"), row)
    arrays = dict(train_images=noise(30), val_images=noise(4, 1))
    np.savez(tmp_path / "b.npz", **arrays)
    check_sources(load_dataset(tmp_path / "b.npz"), row)


def test_a_source_is_a_path_or_a_row_of_parquet(tmp_path):
    images = noise(24)
    (tmp_path / "data").mkdir()
    for part in range(2):
        rows = slice(12 * part, 12 * part + 12)
        pq.write_table(
            pa.table({"image": images[rows].tolist()}), tmp_path / "data" / f"train-{part}.parquet"
        )
    dataset = load_dataset(tmp_path)
    check_sources(dataset, lambda text: images[12 * int(text[len("train-")]) + int(text.rpartition("/")[2])])


def test_a_source_of_a_named_data_set_is_its_part_and_row():
    train, test = load_dataset("digits").sources
    assert (train.to_list()[17], test.to_list()[-1]) == ("train/17", "test/358")
