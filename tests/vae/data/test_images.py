"""Images as a caller has them."""

import numpy as np
import pytest
import torch

from vae.data import as_image_set, as_images, dataset_from_arrays, load_dataset, save_arrays
from vae.errors import UsageError


@pytest.fixture(scope="module")
def colour():
    return np.random.default_rng(0).integers(0, 256, (60, 9, 8, 3), dtype=np.uint8)


def test_every_form_of_images_becomes_the_same_tensor(colour):
    expected = torch.from_numpy(colour).permute(0, 3, 1, 2)
    for images in (
        colour,
        colour.astype(np.int64),
        colour / 255,
        expected,
        expected.float() / 255,
        list(colour),
    ):
        tensor = as_images(images)
        assert tensor.dtype == torch.uint8
        assert torch.equal(tensor, expected)


def test_a_name_gives_the_training_part():
    assert torch.equal(as_images("digits"), load_dataset("digits").train.images)


@pytest.mark.parametrize("labels", [["b", "a"] * 30, torch.tensor([9, 4] * 30), np.array([9.0, 4.0] * 30)])
def test_classes_are_numbered_in_their_order(colour, labels):
    assert as_image_set(colour, labels).labels.tolist() == [1, 0] * 30


@pytest.mark.parametrize("labels", [None, ["b", "a"] * 30, [10, 9] * 30, [True, False] * 30])
@pytest.mark.parametrize("with_test", [False, True])
def test_arrays_are_the_same_data_set_as_an_npz_of_them(colour, tmp_path, labels, with_test):
    test = {"test_images": colour[:20] / 255} if with_test else {}
    if with_test and labels is not None:
        test["test_labels"] = labels[:20]
    dataset = dataset_from_arrays(colour, labels, name="own", **test)
    arrays = {"images": colour, "labels": labels, **test}
    np.savez(tmp_path / "own.npz", **{name: array for name, array in arrays.items() if array is not None})
    save_arrays(tmp_path / "kept" / "own.npz", colour, labels, **test)
    for path in (tmp_path / "own.npz", tmp_path / "kept" / "own.npz"):
        loaded = load_dataset(path)
        assert (loaded.name, loaded.class_names) == ("own", dataset.class_names)
        assert loaded.fingerprint == dataset.fingerprint
        assert torch.equal(loaded.test.images, dataset.test.images)


def test_too_few_images_are_refused_by_name(colour):
    with pytest.raises(UsageError, match="the data set 'own' has 9 training images, must have >= 10"):
        dataset_from_arrays(colour[:9], name="own")


def test_labels_that_are_no_classes_are_refused(colour):
    with pytest.raises(UsageError, match="labels must be classes, whole numbers or names, got 0.5"):
        dataset_from_arrays(colour, [0.5] * 60)
