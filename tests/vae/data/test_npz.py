"""`.npz` files as their publishers write them."""

import numpy as np
import pytest
import torch

from vae.data import load_dataset
from vae.data.dataset import MIN_IMAGES
from vae.errors import UsageError

N = 2 * MIN_IMAGES


def images(n: int = N, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8), dtype=np.uint8)


def labels(n: int = N) -> np.ndarray:
    return (np.arange(n) % 2)[:, None].astype(np.uint8)  # (n, 1), as both have them


def test_keras_arrays_are_read(tmp_path):
    parts = dict(x_train=images(), y_train=labels()[:, 0], x_test=images(4, seed=1), y_test=labels(4))
    np.savez(tmp_path / "mnist.npz", **parts)
    dataset = load_dataset(tmp_path / "mnist.npz")
    assert np.array_equal(dataset.train.images[:, 0], parts["x_train"])
    assert np.array_equal(dataset.test.images[:, 0], parts["x_test"])
    assert dataset.train.labels.tolist() == [0, 1] * MIN_IMAGES
    assert dataset.test.labels.tolist() == [0, 1, 0, 1]


def test_the_validation_images_of_medmnist_join_its_training_images(tmp_path, caplog):
    caplog.set_level("INFO")
    parts = dict(train_images=images(), train_labels=labels(), val_images=images(6, 1), val_labels=labels(6))
    parts |= dict(test_images=images(4, 2), test_labels=labels(4))
    np.savez(tmp_path / "pneumoniamnist.npz", **parts)
    dataset = load_dataset(tmp_path / "pneumoniamnist.npz")
    assert np.array_equal(dataset.train.images[:N, 0], parts["train_images"])
    assert np.array_equal(dataset.train.images[N:, 0], parts["val_images"])
    assert torch.equal(dataset.train.labels, torch.arange(N + 6) % 2)
    assert dataset.test.labels.tolist() == [0, 1, 0, 1]
    assert "its 6 validation images join the training images" in caplog.text


def test_several_labels_for_an_image_are_refused(tmp_path):
    np.savez(tmp_path / "chestmnist.npz", train_images=images(), train_labels=np.zeros((N, 14), int))
    with pytest.raises(UsageError, match=r"shape \(20, 14\), must be one label per image"):
        load_dataset(tmp_path / "chestmnist.npz")


def test_parts_that_do_not_go_together_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", train_images=images(), train_labels=labels(), val_images=images(6))
    with pytest.raises(UsageError, match="only one has labels; make both alike"):
        load_dataset(tmp_path / "a.npz")


def test_names_of_two_publishers_are_not_mixed(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=images(), labels=labels())
    with pytest.raises(UsageError, match="unknown array 'labels'; the names are .*x_test, x_train, y_test"):
        load_dataset(tmp_path / "a.npz")
