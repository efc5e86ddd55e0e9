"""`vae.train`, `vae.load` and the model that they return."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import vae
from vae.config import Config
from vae.data.splits import split_validation
from vae.inference import embed, reconstruct
from vae.progress import Console, EpochProgress
from vae.training.loop import Report
from vae.training.loop import train as run_epochs

SMALL = {"latent_dim": 3, "width": 0.1, "max_epochs": 2, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def digits():
    return vae.load_dataset("digits")


@pytest.fixture(scope="module")
def model(digits):
    return vae.train(digits, **SMALL)


def weights(trained):
    return torch.cat([parameter.flatten() for parameter in trained.model.parameters()])


def test_it_trains_as_the_loop_does_and_keeps_the_epoch_with_the_lowest_loss(digits):
    trained = vae.train(digits, **SMALL | {"max_epochs": 4, "learning_rate": 0.02})
    losses = trained.history["val_loss"]
    assert trained.epoch == losses.idxmin()
    assert trained.metrics["val_loss"] == losses.min()
    split = split_validation(digits.train, seed=0)
    params = {"latent_dim": 3, "width": 0.1, "max_epochs": 4, "learning_rate": 0.02}
    states = []
    run_epochs(
        Config.from_params(params),
        split.train,
        split.validation,
        on_report=lambda end: states.append(
            torch.cat([parameter.detach().flatten() for parameter in end.state.model.parameters()])
        ),
    )
    assert torch.equal(weights(trained), states[trained.epoch - 1])


def test_the_history_has_a_row_for_each_epoch(model):
    assert isinstance(model.history, pd.DataFrame)
    assert model.history.index.tolist() == [1, 2]
    assert {"train_loss", "val_loss", "val_ssim", "val_knn_accuracy"} <= set(model.history.columns)


def test_images_arrays_tensors_and_data_sets_give_the_same_model(digits, tmp_path):
    train, labels = digits.train.images, digits.train.labels
    np.savez(
        tmp_path / "own.npz",
        images=train[:, 0],
        labels=labels,
        test_images=train[:9, 0],
        test_labels=labels[:9],
    )
    forms = [
        (digits,),
        (digits.train,),
        (train, labels),
        (train[:, 0].numpy(), labels.tolist()),
        (train.permute(0, 2, 3, 1).numpy(), labels.numpy()),
        (train[:, 0].numpy().astype(np.float32) / 255, labels),
        (tmp_path / "own.npz",),
        (str(tmp_path / "own.npz"),),
    ]
    first, *others = (weights(vae.train(*form, **SMALL | {"max_epochs": 1})) for form in forms)
    for other in others:
        assert torch.equal(first, other)


def test_hyperparameters_may_be_numpys_numbers(digits):
    trained = vae.train(digits, **SMALL | {"latent_dim": np.int64(5), "learning_rate": np.float32(0.5)})
    assert trained.config.model.latent_dim == 5


def test_without_labels_there_is_no_knn_accuracy(digits):
    assert "val_knn_accuracy" not in vae.train(digits.train.images, **SMALL).history.columns


def test_validation_images_can_be_given(digits):
    parts = split_validation(digits.train, seed=0)
    split = vae.train(digits, **SMALL)
    given = vae.train(
        parts.train.images,
        parts.train.labels,
        validation=(parts.validation.images, parts.validation.labels),
        **SMALL,
    )
    clocked = ["epoch_seconds", "validation_seconds", "images_per_second"]
    pd.testing.assert_frame_equal(split.history.drop(columns=clocked), given.history.drop(columns=clocked))
    assert (split.split_seed, given.split_seed) == (0, None)


def test_the_callback_sees_each_epoch_and_can_end_the_training(digits):
    seen = []

    def stop_after_two(end):
        seen.append(end.epoch)
        return end.epoch == 2

    trained = vae.train(digits, on_report=stop_after_two, **SMALL | {"max_epochs": 5})
    assert seen == [1, 2] == trained.history.index.tolist()


def test_a_saved_model_is_loaded_as_it_was(model, digits, tmp_path):
    model.save(tmp_path / "model")
    loaded = vae.load(str(tmp_path / "model"), device="cpu")
    assert (loaded.config, loaded.image_shape, loaded.epoch) == (model.config, (1, 8, 8), model.epoch)
    assert (loaded.metrics, loaded.split_seed, loaded.history) == (model.metrics, 0, None)
    assert np.array_equal(loaded.embed(digits.test), vae.load(tmp_path / "model").embed(digits.test))


def test_an_embedding_is_the_posterior_mean_and_an_image_its_decoded_one(model, digits):
    images = digits.test.images
    embedding = model.embed(images)
    assert (embedding.dtype, embedding.shape) == (np.float32, (len(images), 3))
    assert np.array_equal(embedding, embed(model.model, images).numpy())
    assert np.array_equal(model.embed(images[:, 0].numpy()), embedding)
    expected = reconstruct(model.model, images)[:, 0].numpy()
    assert np.array_equal(model.reconstruct(images), expected)
    assert np.array_equal(model.decode(embedding.tolist()), expected)


def test_colour_images_come_back_with_their_channels_last():
    images = np.random.default_rng(0).integers(0, 256, (600, 8, 10, 3), dtype=np.uint8)
    trained = vae.train(images, **SMALL | {"max_epochs": 1})
    assert trained.image_shape == (3, 8, 10)
    assert trained.reconstruct(images[:5]).shape == (5, 8, 10, 3)


IMAGES = np.zeros((600, 8, 8), dtype=np.uint8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": IMAGES[0]}, "images have shape (8, 8), must be (n, H, W) or (n, H, W, C) with n >= 1"),
        ({"images": IMAGES + 1.5}, "images have values from 1.5 to 1.5, floats must be in [0, 1]; rescale"),
        ({"images": IMAGES + math.nan}, "images contain NaN or infinity, first in image 0; clean them"),
        (
            {"images": [IMAGES[0], IMAGES[0, :5]]},
            "images must be one array (n, H, W) or (n, H, W, C)",
        ),
        ({"images": "digit"}, "unknown dataset 'digit'"),
        ({"labels": [1, 2]}, "labels have shape (2,), must be one label per image: (600,)"),
        ({"latent_dims": 3}, "unknown hyperparameter 'latent_dims', did you mean 'latent_dim'?"),
        (
            {"architecture": "con"},
            "architecture must be one of fc, fc_conv, conv, conv1xn, unet,",
        ),
        ({"device": "gpu"}, "device must be cpu, cuda or cuda:N, got 'gpu'"),
        ({"conditional": True}, "conditional needs labels, the images have none; leave it out"),
        ({"batch_size": 501}, "batch_size must be <= 500, the number of training images, got 501"),
        ({"validation": np.zeros((9, 9, 8))}, "validation images are 9x8x1, training images are 8x8x1"),
        (
            {"labels": [0, 1] * 300, "validation": (IMAGES[:2], [1, 2])},
            "class 2 is among the validation labels, but not among the training labels",
        ),
        (
            {"labels": [0, 1] * 300, "validation": IMAGES[:2]},
            "the data has labels, so it needs both of validation_images and validation_labels, or neither",
        ),
        (
            {"images": "digits", "learning_rate": 1e30, "optimizer": "sgd"},
            "the loss became non-finite in epoch 1; try a learning_rate below 1e+30",
        ),
    ],
)
def test_a_mistake_is_one_clear_error(arguments, message):
    with pytest.raises(vae.UsageError) as raised:
        vae.train(**{"images": IMAGES, "progress": False} | arguments)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda model: model.embed(np.zeros((2, 9, 9))),
            "was trained on images (1, 8, 8), got (1, 9, 9)",
        ),
        (lambda model: model.decode(np.zeros((2, 4))), "latents must have shape (n, 3), got (2, 4)"),
        (lambda model: model.decode([[0, 0, math.inf]]), "latents must be finite, got NaN or infinity"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(model, call, message):
    with pytest.raises(vae.UsageError) as raised:
        call(model)
    assert message in str(raised.value)


def test_a_folder_that_is_no_checkpoint_is_a_users_mistake(tmp_path):
    with pytest.raises(vae.UsageError, match="is not a checkpoint: it has no config.json"):
        vae.load(tmp_path)


def test_nothing_is_printed_without_a_terminal(digits, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vae.train(digits, **SMALL | {"progress": True})
    assert capfd.readouterr() == ("", "")
    assert list(Path().iterdir()) == []


def end_of(epoch):
    return Report(epoch, epoch, {"val_loss": 12.345, "val_knn_accuracy": 0.5}, None, None)


def test_a_terminal_shows_a_bar(tmp_path):
    with (tmp_path / "terminal").open("w+") as file:
        with EpochProgress(3, Console(file=file, force_terminal=True, width=100)) as progress:
            progress.show(end_of(1))
            progress.show(end_of(2))
        text = (tmp_path / "terminal").read_text()
    assert "2/3" in text
    assert "val_loss 12.35, val_knn_accuracy 0.5" in text


def test_a_notebook_shows_one_line_that_is_replaced(cell):
    with EpochProgress(3, Console(force_jupyter=True)) as progress:
        progress.show(end_of(1))
        progress.show(end_of(2))
    assert cell == ["epoch 2/3: val_loss 12.35, val_knn_accuracy 0.5"]


def test_images_of_any_size_are_resized_to_train_and_to_embed(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 20), dtype=np.uint8)
    model = vae.train(images, resize=8, batch_size=16, **SMALL)
    assert (model.resize, model.image_shape) == (8, (1, 8, 8))
    model.save(tmp_path)
    again = vae.load(tmp_path, device="cpu")
    assert np.array_equal(again.embed(images), model.embed(vae.data.as_images(images, resize=8)))
    np.savez(tmp_path / "images.npz", images=images)
    dataset = vae.load_dataset(tmp_path / "images.npz", resize=8)
    trained = vae.train(dataset, batch_size=16, **SMALL)
    assert (trained.resize, trained.dataset) == (8, dataset.fingerprint)
