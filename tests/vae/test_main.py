import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vae.__main__ import main
from vae.checkpoint import load_model
from vae.data import load_dataset
from vae.errors import StorageError, UsageError

DIGITS = ["--dataset", "digits", "--device", "cpu"]
TRAIN = ["train", *DIGITS, "--batch-size", "128", "--width", "0.1", "--latent-dim", "4"]


def weights(directory):
    return torch.cat([p.flatten() for p in load_model(directory).model.parameters()])


def test_train_keeps_the_model_of_its_best_epoch_and_evaluate_measures_it(tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*TRAIN, "--max-epochs", "3", "--output", str(run), "--tensorboard"]) == 0
    rows = re.findall(r"^ *(\d)/3 +\S+ +(\S+)", capsys.readouterr().out, re.MULTILINE)
    losses = [float(loss) for _, loss in rows]
    assert len(losses) == 3
    assert load_model(run).epoch == 1 + losses.index(min(losses))

    assert main(["evaluate", *DIGITS, str(run)]) == 0
    assert f"loss {min(losses):10.4f}" in capsys.readouterr().out

    log = EventAccumulator(str(run / "tensorboard"))
    log.Reload()
    assert [round(event.value, 3) for event in log.Scalars("val/loss")] == [round(loss, 3) for loss in losses]


@pytest.mark.parametrize(
    ("schedule", "of_the_whole"), [("constant", []), ("one_cycle", ["--schedule-epochs", "2", "4"])]
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, schedule, of_the_whole):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    command = [*TRAIN, "--architecture", "conv1xn", "--width", "0.25", "--schedule", schedule]
    main([*command, "--max-epochs", "4", *of_the_whole, "--output", str(whole)])
    main([*command, "--max-epochs", "2", "--output", str(parts)])
    main([*command, "--max-epochs", "4", "--output", str(parts), "--resume"])
    assert torch.equal(weights(whole), weights(parts))
    assert load_model(whole).epoch > 2, "the best epoch is of before the resumption"
    if of_the_whole:
        assert load_model(parts).config == load_model(whole).config


def test_images_of_any_size_are_resized_again_without_being_asked(tmp_path, capsys, caplog):
    images = np.random.default_rng(0).integers(0, 256, (60, 20, 30, 3), dtype=np.uint8)
    np.savez(tmp_path / "large.npz", images=images)
    run, data = tmp_path / "run", ["--dataset", str(tmp_path / "large.npz"), "--device", "cpu"]
    train = [
        "train",
        *data,
        "--width",
        "0.1",
        "--latent-dim",
        "2",
        "--batch-size",
        "32",
        "--output",
        str(run),
    ]
    main([*train, "--max-epochs", "1", "--resize", "8"])
    assert main([*train, "--max-epochs", "2", "--resume"]) == 0
    model = load_model(run)
    assert (model.resize, model.image_shape) == (8, (3, 8, 8))
    assert model.embed(images).shape == (60, 2)
    capsys.readouterr()
    assert main(["evaluate", *data, str(run)]) == 0
    assert "validation split of large" in capsys.readouterr().out
    assert "other images" not in caplog.text


def test_a_run_is_not_resumed_on_other_images(tmp_path):
    run = ["--output", str(tmp_path / "run")]
    main([*TRAIN, "--max-epochs", "1", *run])
    images = load_dataset("digits").train.images[:, 0].numpy()
    np.savez(tmp_path / "other.npz", images=images)
    with pytest.raises(UsageError, match="was trained on another data set than '.*other.npz'"):
        main([*TRAIN, "--max-epochs", "2", "--resume", *run, "--dataset", str(tmp_path / "other.npz")])


def test_evaluate_takes_the_validation_images_of_the_training(tmp_path, capsys):
    run = tmp_path / "run"
    main([*TRAIN, "--max-epochs", "1", "--seed", "5", "--output", str(run)])
    loss = load_model(run).metrics["val_loss"]
    capsys.readouterr()
    main(["evaluate", *DIGITS, str(run)])
    assert f"loss {loss:10.4f}" in capsys.readouterr().out
    main(["evaluate", *DIGITS, str(run), "--seed", "0"])
    assert f"loss {loss:10.4f}" not in capsys.readouterr().out


def test_evaluate_says_which_images_it_measures_and_refuses_the_default_in_place_of_others(
    tmp_path, capsys, monkeypatch
):
    run = tmp_path / "run"
    main([*TRAIN, "--max-epochs", "1", "--output", str(run)])
    capsys.readouterr()
    main(["evaluate", *DIGITS, str(run)])
    assert "validation split of digits, 240 images" in capsys.readouterr().out
    noise = np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "other.npz", images=noise)
    other = load_dataset(tmp_path / "other.npz")
    with monkeypatch.context() as patch:
        patch.setattr("vae.__main__.load_dataset", lambda name, data_dir, resize: other)
        with pytest.raises(
            UsageError, match="run was trained on other images than those of other.*--dataset"
        ):
            main(["evaluate", "--device", "cpu", str(run)])
    assert capsys.readouterr().out == ""


def test_other_images_that_are_named_are_measured_with_a_warning(tmp_path, capsys, caplog):
    run = tmp_path / "run"
    main([*TRAIN, "--max-epochs", "1", "--output", str(run)])
    noise = np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "other.npz", images=noise)
    main(["evaluate", "--dataset", str(tmp_path / "other.npz"), "--device", "cpu", str(run)])
    assert "was trained on other images than those of other" in caplog.text
    assert "validation split of other" in capsys.readouterr().out


def test_a_checkpoint_of_an_older_version_is_measured_and_says_what_it_lacks(tmp_path, capsys, caplog):
    run = tmp_path / "run"
    main([*TRAIN, "--max-epochs", "1", "--output", str(run)])
    model = load_model(run)
    replace(model, dataset=None).save(run)
    main(["evaluate", *DIGITS, str(run)])
    assert f"{run} does not say which images it was trained on" in caplog.text
    assert "validation split of digits" in capsys.readouterr().out


def test_a_finished_run_is_not_trained_again(tmp_path, capsys):
    main([*TRAIN, "--max-epochs", "1", "--output", str(tmp_path / "run")])
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert main([*TRAIN, "--max-epochs", "1", "--output", str(tmp_path / "run"), "--resume"]) == 0
    assert "has trained its 1 epochs already" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_run_is_never_overwritten(tmp_path):
    main([*TRAIN, "--max-epochs", "1", "--output", str(tmp_path / "run")])
    with pytest.raises(UsageError, match="holds a run already; add --resume"):
        main([*TRAIN, "--max-epochs", "1", "--output", str(tmp_path / "run")])


def test_every_nth_epoch_and_the_last_are_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main([*TRAIN, "--max-epochs", "5", "--name", "some", "--print-every", "2"])
    assert re.findall(r"^ *(\d)/5", capsys.readouterr().out, re.MULTILINE) == ["2", "4", "5"]
    assert load_model(tmp_path / "runs" / "some").epoch


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ["--architecture", "fcc"],
            UsageError,
            "architecture must be one of fc, fc_conv, conv, conv1xn, unet, resnet, got 'fcc'",
        ),
        (["--dataset", "digit"], UsageError, "digits"),
        (
            ["--learning-rate", "1e30", "--optimizer", "sgd"],
            UsageError,
            "non-finite in epoch 1; try a learning_rate below",
        ),
        (["--resume"], UsageError, "--resume needs the --name or --output of a run"),
        (["--print-every", "0"], UsageError, "--print-every must be >= 1, got 0"),
        (
            ["--batch-size", "9999", "--tensorboard"],
            UsageError,
            "number of training images, got 9999; give a smaller --batch-size",
        ),
        (["--latent-dim", "65"], UsageError, "latent_dim must be <= 64, the values of one image, got 65"),
        (["--reconstruction-loss", "ssim"], UsageError, "ssim_window must be <= 8, the smaller side"),
        (["--device", "gpu"], UsageError, "device must be cpu, cuda or cuda:N, got 'gpu'"),
        (["--output", "/proc/run"], StorageError, "cannot write /proc/run"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, arguments, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as raised:
        main([*TRAIN, "--max-epochs", "2", *arguments])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_exits_with_2_and_one_line():
    command = [sys.executable, "-m", "vae", "evaluate", "nowhere", "--dataset", "digits"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no nowhere; name a run of a search")
    assert done.stderr.count("\n") == 1
    command = [sys.executable, "-m", "vae", "train", "--latent-dim", "many"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
