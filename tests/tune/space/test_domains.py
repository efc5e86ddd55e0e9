"""What a search space draws, and what it checks against the images."""

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.space.file import parse_space
from vae.errors import UsageError

optuna.logging.set_verbosity(optuna.logging.WARNING)


def draw(space, n, seed=0):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.sample(study.ask()) for _ in range(n)]


def test_a_condition_decides_whether_a_hyperparameter_is_drawn():
    space = parse_space(
        {
            "reconstruction_loss": {"choice": ["bce", "ssim"]},
            "ssim_window": {"choice": [5, 7], "when": {"reconstruction_loss": "ssim"}},
        }
    )
    drawn = draw(space, 50)
    assert {p["reconstruction_loss"] for p in drawn} == {"bce", "ssim"}
    assert all(("ssim_window" in p) == (p["reconstruction_loss"] == "ssim") for p in drawn)


def test_a_range_may_depend_on_another_choice():
    space = parse_space(
        {
            "architecture": {"choice": ["fc", "conv", "resnet"]},
            "width": [
                {"float": [1.0, 2.0], "when": {"architecture": "fc"}},
                {"choice": [0.25, 0.5], "when": {"architecture": ["conv", "resnet"]}},
            ],
        }
    )
    for params in draw(space, 50):
        if params["architecture"] == "fc":
            assert 1.0 <= params["width"] <= 2.0
        else:
            assert params["width"] in (0.25, 0.5)


@given(st.integers(1, 400), st.integers(1, 400), st.booleans(), st.integers(0, 1000))
def test_whole_numbers_stay_in_their_range(low, width, log, seed):
    space = parse_space({"latent_dim": {"int": [low, low + width], "log": log}})
    for params in draw(space, 5, seed):
        assert isinstance(params["latent_dim"], int)
        assert low <= params["latent_dim"] <= low + width


@given(st.floats(1e-6, 1.0), st.floats(1.01, 1e3), st.booleans(), st.integers(0, 1000))
def test_numbers_stay_in_their_range(low, factor, log, seed):
    space = parse_space({"learning_rate": {"float": [low, low * factor], "log": log}})
    for params in draw(space, 5, seed):
        assert low <= params["learning_rate"] <= low * factor


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 20), st.integers(0, 1000))
def test_a_step_is_kept_from_the_lower_end(low, width, step, seed):
    entry = {"int": [low, low + width], "step": step}
    if step > width:
        with pytest.raises(UsageError, match="step must be"):
            parse_space({"latent_dim": entry})
        return
    for params in draw(parse_space({"latent_dim": entry}), 5, seed):
        assert (params["latent_dim"] - low) % step == 0


def test_constants_are_drawn_but_not_searched():
    space = parse_space({"precision": "bfloat16", "kl_weight": 1, "latent_dim": {"choice": [2, 4]}})
    assert space.searched == {"latent_dim"}
    study = optuna.create_study()
    trial = study.ask()
    assert space.sample(trial).items() >= {"precision": "bfloat16", "kl_weight": 1}.items()
    assert set(study.trials[0].params) == {"latent_dim"}


def test_a_value_behind_two_conditions_is_checked_too():
    with pytest.raises(UsageError, match="ssim_window must be odd, got 4"):
        parse_space(
            {
                "architecture": {"choice": ["fc", "conv"]},
                "reconstruction_loss": [
                    {"value": "bce", "when": {"architecture": "fc"}},
                    {"choice": ["mse", "ssim"], "when": {"architecture": "conv"}},
                ],
                "ssim_window": {"choice": [4], "when": {"reconstruction_loss": "ssim"}},
            }
        )


def test_a_list_may_be_a_choice():
    space = parse_space({"schedule": "milestones", "milestones": {"choice": [[3], [3, 6]]}})
    assert {tuple(p["milestones"]) for p in draw(space, 20)} == {(3,), (3, 6)}


def test_starting_points_are_proposed_first_and_in_order():
    space = parse_space(
        {
            "architecture": {"choice": ["fc", "conv"]},
            "width": [
                {"float": [1.0, 2.0], "when": {"architecture": "fc"}},
                {"float": [0.1, 0.5], "when": {"architecture": "conv"}},
            ],
            "kl_weight": {"float": [0.01, 1.0]},
            "start": [
                {"architecture": "conv", "width": 0.3},
                {"architecture": "fc", "width": 1.5, "kl_weight": 0.5},
            ],
        }
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for point in space.start:
        study.enqueue_trial(space.to_optuna(point))
    first, second = space.sample(study.ask()), space.sample(study.ask())
    assert (first["architecture"], first["width"]) == ("conv", 0.3)
    assert second == {"architecture": "fc", "width": 1.5, "kl_weight": 0.5}


@pytest.mark.parametrize(
    ("space", "complaint"),
    [
        ({"reconstruction_loss": "ssim", "ssim_window": {"choice": [7, 11]}}, "ssim_window must be <= 8"),
        ({"batch_size": {"choice": [64, 4096]}}, "batch_size must be <= 1000"),
        ({"latent_dim": {"choice": [8, 128]}}, "latent_dim must be <= 64"),
        # What the space leaves out has its default, and the window counts with the SSIM loss only.
        ({"reconstruction_loss": {"choice": ["bce", "ssim"]}}, "ssim_window must be <= 8"),
        (
            {"reconstruction_loss": {"choice": ["bce", "ssim"]}, "ssim_window": {"choice": [3, 11]}},
            "ssim_window must be <= 8",
        ),
    ],
)
def test_a_space_that_the_images_cannot_meet_is_refused(space, complaint):
    with pytest.raises(UsageError, match=complaint):
        parse_space(space).check_fit((1, 8, 8), 1000)


def test_a_window_that_no_trial_uses_may_be_larger_than_the_images():
    parse_space({"reconstruction_loss": "mse", "ssim_window": 11}).check_fit((1, 8, 8), 1000)
