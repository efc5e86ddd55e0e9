"""The images that trials see."""

import dataclasses

import numpy as np
import pytest
import torch

from tune.trials.data import TrialData
from vae.data import Dataset, ImageSet, load_dataset
from vae.metrics import validation_knn


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def arrays(data):
    values = [getattr(data, field.name) for field in dataclasses.fields(data)]
    return [value for value in values if isinstance(value, np.ndarray)]


def test_the_test_set_is_not_among_them(digits):
    # Test images that differ from all others in a way that any copy of them would keep.
    marked = ImageSet(torch.full_like(digits.test.images, 251), torch.full_like(digits.test.labels, 251))
    assert 251 not in digits.train.images
    data = TrialData.from_dataset(dataclasses.replace(digits, test=marked), seed=0)
    for array in arrays(data):
        assert array.dtype != np.uint8 or 251 not in array
    n_images = len(data.train_images) + len(data.validation_images)
    assert n_images == len(digits.train)
    assert len(data.train_labels) + len(data.validation_labels) == len(digits.train)


def test_train_and_validation_images_are_different_ones(digits):
    # Every image has one pixel pattern of its own: its number, in bytes.
    n = len(digits.train)
    images = digits.train.images.clone()
    images[:, 0, 0, 0], images[:, 0, 0, 1] = torch.arange(n) % 256, torch.arange(n) // 256
    data = TrialData.from_dataset(
        dataclasses.replace(digits, train=ImageSet(images, digits.train.labels)), seed=0
    )

    def numbers(array):
        return set((array[:, 0, 0, 0].astype(int) + 256 * array[:, 0, 0, 1].astype(int)).tolist())

    assert numbers(data.train_images).isdisjoint(numbers(data.validation_images))
    assert numbers(data.train_images) | numbers(data.validation_images) == set(range(n))


def test_a_large_set_is_sampled_in_proportion_to_its_classes(digits, monkeypatch):
    monkeypatch.setattr(validation_knn, "MAX_IMAGES", 300)
    data = TrialData.from_dataset(digits, seed=0)
    assert len(data.reference_index) == len(set(data.reference_index.tolist())) == 300
    everywhere = np.bincount(data.train_labels) / len(data.train_labels)
    sampled = np.bincount(data.train_labels[data.reference_index]) / 300
    assert np.abs(everywhere - sampled).max() < 1.5 / 300
    assert data.query_index.tolist() == list(range(len(data.validation_images)))  # fewer than the limit


def test_the_split_follows_the_seed(digits):
    first, again, other = (TrialData.from_dataset(digits, seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(arrays(first), arrays(again), strict=True))
    assert not np.array_equal(first.validation_images, other.validation_images)


def test_without_labels_there_are_images_only(digits):
    unlabelled = Dataset(
        "own", ImageSet(digits.train.images, None), ImageSet(digits.test.images, None), (), "fingerprint"
    )
    data = TrialData.from_dataset(unlabelled, seed=0)
    assert not data.labelled
    assert data.train(torch.device("cpu")).labels is None


@pytest.mark.filterwarnings("error")
def test_read_only_arrays_become_tensors_without_a_copy_or_a_warning(digits):
    data = TrialData.from_dataset(digits, seed=0)
    for array in arrays(data):  # as Ray's object store hands them out
        array.flags.writeable = False
    images = data.train(torch.device("cpu")).images
    assert images.data_ptr() == data.train_images.ctypes.data
