"""The configurations of a space: counted by hand, compared, and found where only some are left."""

import pytest

from tune.space.configurations import all_tried, at_most, configurations, continuous, identity, untried
from tune.space.file import parse_space

# 2 without a window, 1 x 2 with one; each with 3 dimensions and 2 learning rates: 24.
CONDITIONAL = {
    "reconstruction_loss": {"choice": ["bce", "mse", "ssim"]},
    "ssim_window": {"choice": [5, 7], "when": {"reconstruction_loss": "ssim"}},
    "latent_dim": {"int": [2, 6], "step": 2},
    "learning_rate": {"choice": [1e-3, 2e-3]},
    "width": 0.5,
}


def test_every_configuration_comes_once_with_the_values_that_apply():
    space = parse_space(CONDITIONAL)
    found = list(configurations(space))
    assert len(found) == len({identity(space, params) for params in found}) == 24
    assert all(("ssim_window" in params) == (params["reconstruction_loss"] == "ssim") for params in found)


@pytest.mark.parametrize(
    ("entry", "n"),
    [
        ({"int": [3, 9]}, 7),
        ({"int": [3, 9], "log": True}, 7),
        ({"int": [3, 9], "step": 4}, 2),
        ({"float": [0.0, 0.5], "step": 0.1}, 6),
        ({"float": [0.0, 0.5], "step": 0.2}, 3),
        ({"choice": [0.1, 0.2]}, 2),
        (0.1, 1),
    ],
)
def test_ranges_with_steps_are_counted(entry, n):
    name = "latent_dim" if "int" in str(entry) else "kl_weight"
    assert len(list(configurations(parse_space({name: entry})))) == n


def test_a_search_can_try_no_more_than_there_is():
    assert [at_most(parse_space(CONDITIONAL), n) for n in (10, 24, 100)] == [10, 24, 24]
    assert at_most(parse_space({"kl_weight": {"float": [0.1, 1.0]}}), 100) == 100


def test_a_space_without_end_names_what_makes_it_one():
    space = parse_space(
        {
            "architecture": {"choice": ["fc", "conv"]},
            "kl_weight": [{"value": 0.1, "when": {"architecture": "fc"}}, {"float": [0.1, 1.0]}],
        }
    )
    assert continuous(space) == ["kl_weight"]
    assert all_tried(space, set()) is None
    assert continuous(parse_space(CONDITIONAL)) == []


def test_what_differs_by_rounding_on_a_step_is_the_same_and_else_floats_are_compared_exactly():
    stepped = parse_space({"kl_weight": {"float": [0.1, 0.5], "step": 0.1}})
    assert 0.1 + 0.1 + 0.1 != 0.3
    assert identity(stepped, {"kl_weight": 0.1 + 0.1 + 0.1}) == identity(stepped, {"kl_weight": 0.3})
    assert identity(stepped, {"kl_weight": 0.2}) != identity(stepped, {"kl_weight": 0.3})
    free = parse_space({"kl_weight": {"float": [0.1, 0.5]}})
    assert identity(free, {"kl_weight": 0.1 + 0.1 + 0.1}) != identity(free, {"kl_weight": 0.3})


def test_the_last_configuration_is_found_and_then_all_are_tried():
    space = parse_space(CONDITIONAL)
    tried = set()
    for seed in range(24):
        assert all_tried(space, tried) is None
        tried.add(identity(space, untried(space, tried, seed)))
        assert len(tried) == seed + 1
    assert all_tried(space, tried) == 24
    assert untried(space, tried, 0) is None


def test_one_that_hides_among_a_thousand_is_found():
    space = parse_space({"latent_dim": {"int": [1, 5000]}})
    tried = {identity(space, {"latent_dim": dim}) for dim in range(1, 5001) if dim != 4321}
    assert untried(space, tried, 0) == {"latent_dim": 4321}


def test_which_one_is_taken_is_random():
    space = parse_space({"latent_dim": {"int": [1, 1000]}})
    assert len({untried(space, set(), seed)["latent_dim"] for seed in range(20)}) > 15
    assert untried(space, set(), 7) == untried(space, set(), 7)
