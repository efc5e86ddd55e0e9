"""Exact continuation from a saved state, for every network and optimiser."""

import json

import pytest
import torch

from vae.checkpoint import CONFIG_FILE
from vae.config import ARCHITECTURES, OPTIMIZERS, Config
from vae.data import ImageSet
from vae.errors import StorageError
from vae.training.loop import train

N_IMAGES, SIDE = 24, 16


def images(n_channels):
    generator = torch.Generator().manual_seed(n_channels)
    pixels = torch.randint(256, (N_IMAGES, n_channels, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    return ImageSet(pixels, None)


def tensors(state):
    """Return weights and moments by name."""
    moments = {
        f"{name} of parameter {number}": value
        for number, slots in state.optimizer.state_dict()["state"].items()
        for name, value in slots.items()
        if value is not None
    }
    return dict(state.model.named_parameters()) | moments


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_resumed_training_ends_bit_for_bit_as_one_that_never_stopped(
    tmp_path, architecture, optimizer, n_channels
):
    data = images(n_channels)
    config = Config.from_params(
        {"architecture": architecture, "optimizer": optimizer, "width": 0.25, "latent_dim": 4}
        | {"batch_size": 8, "max_epochs": 2, "learning_rate": 1e-3, "kl_warmup_epochs": 2}
    )
    ends = []

    def save_the_first(end):
        ends.append(end)
        if end.epoch == 1:
            end.state.save(tmp_path)

    train(config, data, data, on_report=save_the_first)
    whole = {name: value.clone() for name, value in tensors(ends[-1].state).items()}
    train(config, data, data, resume_from=tmp_path, on_report=ends.append)
    assert [end.epoch for end in ends] == [1, 2, 2]
    resumed = tensors(ends[-1].state)
    assert resumed.keys() == whole.keys()
    assert not [name for name, value in whole.items() if not torch.equal(value, resumed[name])]
    losses = [(end.metrics["train_loss"], end.metrics["val_loss"]) for end in ends]
    assert losses[1] == losses[2]


def rates_and_losses(ends):
    return [(end.epoch, end.metrics["learning_rate"], end.metrics["val_loss"]) for end in ends]


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_a_training_continued_to_more_epochs_has_the_curve_of_its_own_config(tmp_path, schedule):
    data, ends = images(1), []
    params = {"schedule": schedule, "width": 0.1, "latent_dim": 4, "batch_size": 8, "learning_rate": 1e-2}

    def save(end):
        ends.append(end)
        end.state.save(tmp_path)

    train(Config.from_params(params | {"max_epochs": 2}), data, data, on_report=save)
    longer = Config.from_params(params | {"max_epochs": 5})
    continued = train(longer, data, data, resume_from=tmp_path, on_report=ends.append)
    assert continued.config.training.schedule_epochs == (2, 5)
    assert ends[-1].state.config == continued.config
    assert ends[2].metrics["learning_rate"] > 3 * ends[1].metrics["learning_rate"]
    from_scratch = []
    train(continued.config, data, data, on_report=from_scratch.append)
    assert rates_and_losses(from_scratch) == rates_and_losses(ends)


def test_a_state_is_not_continued_with_another_schedule(tmp_path):
    data, params = images(1), {"width": 0.1, "latent_dim": 4, "batch_size": 8, "max_epochs": 2}
    train(Config.from_params(params), data, data, on_report=lambda end: end.state.save(tmp_path))
    other = Config.from_params(params | {"max_epochs": 5, "schedule_epochs": [3, 5]})
    message = r"was trained with schedule_epochs \[2\], got \[3, 5\]; they must agree"
    with pytest.raises(StorageError, match=message):
        train(other, data, data, resume_from=tmp_path)


def test_a_state_of_before_schedules_had_epochs_of_their_own_is_continued(tmp_path):
    data, params = images(1), {"width": 0.1, "latent_dim": 4, "batch_size": 8, "max_epochs": 2}
    train(Config.from_params(params), data, data, on_report=lambda end: end.state.save(tmp_path))
    content = json.loads((tmp_path / CONFIG_FILE).read_text())
    del content["params"]["schedule_epochs"]
    (tmp_path / CONFIG_FILE).write_text(json.dumps(content))
    longer = train(Config.from_params(params | {"max_epochs": 3}), data, data, resume_from=tmp_path)
    assert longer.config.training.schedule_epochs == (2, 3)
