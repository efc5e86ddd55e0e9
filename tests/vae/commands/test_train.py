"""`python -m vae train` like another model, and on all images."""

import json

import numpy as np
import pytest
import torch

import vae
from vae.__main__ import main
from vae.checkpoint import load_model
from vae.data import load_dataset
from vae.errors import UsageError
from vae.model_card import CARD_FILE

DIGITS = ["--dataset", "digits", "--device", "cpu"]
SMALL = {"latent_dim": 3, "width": 0.1, "max_epochs": 1, "batch_size": 128, "spherical": True}


def weights(trained):
    return torch.cat([parameter.flatten() for parameter in trained.model.parameters()])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    vae.train("digits", device="cpu", progress=False, **SMALL).save(directory)
    return directory


def train(*arguments, output, dataset=DIGITS):
    assert main(["train", *dataset, *map(str, arguments), "--output", str(output)]) == 0
    return load_model(output)


def test_the_hyperparameters_are_those_of_the_other_model_but_for_those_given(model, tmp_path):
    given = ("--max-epochs", "2", "--latent-dim", "4", "--no-spherical")
    params = train("--like", model, *given, output=tmp_path / "new").config.to_params()
    old = load_model(model).config.to_params()
    new = {"max_epochs": 2, "schedule_epochs": [2], "latent_dim": 4, "spherical": False}
    assert params == old | new


def test_all_images_train_and_the_last_epoch_is_kept(model, tmp_path, capsys):
    trained = train("--like", model, "--max-epochs", "2", "--all-images", output=tmp_path / "new")
    digits = load_dataset("digits")
    assert f"{len(digits.train):,} images on cpu" in capsys.readouterr().out
    assert (trained.epoch, trained.split_seed) == (2, None)
    same = vae.train(digits, validation=False, device="cpu", progress=False, **SMALL | {"max_epochs": 2})
    assert torch.equal(weights(trained), weights(same))
    assert not [name for name in same.history.columns if name.startswith("val_")]
    text = (tmp_path / "new" / CARD_FILE).read_text()
    assert "on all 1,438 images but those of the test part" in text
    assert "Its hyperparameters began as those of" in text


def test_a_resumed_run_on_all_images_equals_an_uninterrupted_one(model, tmp_path):
    like, parts_dir = ("--like", model, "--schedule", "constant", "--max-epochs"), tmp_path / "parts"
    whole = train(*like, 2, "--all-images", output=tmp_path / "whole")
    train(*like, 1, "--all-images", output=parts_dir)
    parts = train(*like, 2, "--all-images", "--resume", output=parts_dir)
    assert torch.equal(weights(whole), weights(parts))
    with pytest.raises(UsageError, match="was trained without validation images; add --all-images"):
        train(*like, 3, "--resume", output=parts_dir)


def test_a_run_has_a_card_with_the_scores_of_its_best_epoch(model, tmp_path):
    trained = train("--like", model, output=tmp_path / "new")
    text = (tmp_path / "new" / CARD_FILE).read_text()
    assert "(240 images)" in next(line for line in text.splitlines() if line.startswith("| knn"))
    assert f"| ssim | validation | {trained.metrics['val_ssim']:.4g} |" in text


def test_images_are_resized_as_those_of_the_other_model(model, tmp_path):
    vae.train("digits", resize=10, device="cpu", progress=False, **SMALL).save(tmp_path / "resized")
    trained = train("--like", tmp_path / "resized", output=tmp_path / "new")
    assert (trained.resize, trained.image_shape) == (10, (1, 10, 10))


def test_the_default_images_do_not_stand_in_for_others(model, tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "other.npz", images=images)
    other = load_dataset(tmp_path / "other.npz")
    monkeypatch.setattr("vae.commands.train.load_dataset", lambda name, data_dir, **options: other)
    with pytest.raises(UsageError, match="was trained on other images than those of other, the default"):
        train("--like", model, output=tmp_path / "new", dataset=["--device", "cpu"])
    assert not (tmp_path / "new").exists()


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "notes.json").write_text(json.dumps({}))
    with pytest.raises(UsageError, match="is not a checkpoint"):
        train("--like", tmp_path / "config", output=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_images_that_do_not_go_with_the_model_are_one_line(model, tmp_path, caplog):
    np.savez(tmp_path / "other.npz", images=np.arange(20 * 81, dtype=np.uint8).reshape(20, 9, 9))
    other = ["--dataset", str(tmp_path / "other.npz")]
    with pytest.raises(UsageError, match=r"was trained on images \(1, 8, 8\), other has \(1, 9, 9\)"):
        main(["evaluate", str(model), *other, "--device", "cpu"])
    with pytest.raises(UsageError, match="batch_size must be <= 13, the number of training images, got 500"):
        main(["train", *other, "--batch-size", "500", "--output", str(tmp_path / "new")])
    assert not caplog.records
    assert not (tmp_path / "new").exists()
