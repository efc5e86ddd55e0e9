import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae.config import ARCHITECTURES, OPTIMIZERS, PARAMS, RECONSTRUCTION_LOSSES, Config
from vae.errors import UsageError


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "architecture": st.sampled_from(ARCHITECTURES),
            "latent_dim": st.integers(1, 512),
            "width": st.floats(0.1, 8),
            "reconstruction_loss": st.sampled_from(RECONSTRUCTION_LOSSES),
            "kl_weight": st.floats(0, 10),
            "ssim_window": st.sampled_from([3, 5, 11]),
            "learning_rate": st.floats(1e-6, 1),
            "optimizer": st.sampled_from(OPTIMIZERS),
            "seed": st.integers(0, 2**31),
        },
    )
)
def test_params_survive_the_way_through_a_config(params):
    config = Config.from_params(params)
    assert config.to_params() | params == config.to_params()
    assert Config.from_params(config.to_params()) == config
    assert set(config.to_params()) == set(PARAMS)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"architecture": "con"},
            "architecture must be one of fc, fc_conv, conv, conv1xn, unet, resnet, got 'con'; "
            "did you mean 'conv'?",
        ),
        ({"latent_dim": 0}, "latent_dim must be >= 1, got 0"),
        ({"latent_dim": 2.5}, "latent_dim must be a whole number, got 2.5"),
        ({"latent_dim": True}, "latent_dim must be a whole number, got True"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number, got nan"),
        ({"learning_rate": "1e-3"}, "learning_rate must be a finite number, got '1e-3'"),
        ({"ssim_window": 4}, "ssim_window must be odd, got 4"),
        ({"milestones": [5, 2], "schedule": "milestones"}, "milestones must rise, got [5, 2]"),
        ({"schedule_epochs": [8, 4]}, "schedule_epochs must rise, got [8, 4]"),
        ({"schedule_epochs": [0]}, "schedule_epochs must be > 0, got 0"),
        ({"schedule_epochs": 8}, "schedule_epochs must be a list of numbers, got 8"),
        ({"milestones": [5]}, "milestones need the schedule 'milestones', got 'one_cycle'"),
        ({"schedule": "milestones"}, "the schedule 'milestones' needs at least one milestone, got none"),
        ({"conditional": 1}, "conditional must be true or false, got 1"),
        ({"spherical": True, "latent_dim": 1}, "spherical needs latent_dim >= 2, got 1"),
        ({"free_bits": -1.0}, "free_bits must be >= 0, got -1.0"),
        (
            {"learned_variance": True},
            "learned_variance needs the reconstruction_loss 'mse', got 'bce'",
        ),
        (
            {"learned_variance": True, "balance_losses": True, "reconstruction_loss": "mse"},
            "learned_variance and balance_losses both set the scale of the loss; choose one",
        ),
        ({"latent_dims": 10}, "unknown hyperparameter 'latent_dims', did you mean 'latent_dim'?"),
    ],
)
def test_a_wrong_value_is_named_with_the_rule(params, message):
    with pytest.raises(UsageError) as error:
        Config.from_params(params)
    assert str(error.value) == message


def test_every_hyperparameter_describes_itself():
    assert all(field.metadata["help"] for field in PARAMS.values())


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().model.latent_dim = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("params", "max_epochs", "expected"),
    [
        ({"max_epochs": 8}, 24, [8, 24]),
        ({"max_epochs": 24, "schedule_epochs": [8, 24]}, 72, [8, 24, 72]),
        ({"max_epochs": 8}, 4, [8]),
        ({"max_epochs": 8, "schedule_epochs": [12]}, 10, [12]),
        ({"max_epochs": 8, "schedule_epochs": [12]}, 20, [12, 20]),
        ({"max_epochs": 8, "schedule_epochs": [5]}, 20, [5]),  # had ended: what it was stays true
    ],
)
def test_a_continued_training_keeps_the_past_of_its_schedule(params, max_epochs, expected):
    config = Config.from_params(params).continued(max_epochs)
    assert config.to_params()["max_epochs"] == max_epochs
    assert config.to_params()["schedule_epochs"] == expected
