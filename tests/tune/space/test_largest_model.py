"""The largest model of a search space."""

from tune.space.file import load_space, parse_space
from tune.space.largest_model import largest_config


def largest(space, n_classes=10):
    return largest_config(parse_space(space), (1, 28, 28), n_classes).to_params()


def test_ranges_and_numbers_count_with_their_largest_value():
    space = {
        "architecture": "conv",
        "latent_dim": {"int": [2, 100]},
        "width": {"float": [0.25, 3.0]},
        "batch_size": {"choice": [64, 512, 128]},
    }
    params = largest(space)
    assert (params["latent_dim"], params["width"], params["batch_size"]) == (100, 3.0, 512)


def test_each_architecture_is_tried_with_what_goes_with_it():
    space = {
        "architecture": {"choice": ["fc", "unet", "conv"]},
        "width": [{"value": 8.0, "when": {"architecture": "conv"}}, {"choice": [0.25, 0.5]}],
        "batch_size": 256,
    }
    params = largest(space)
    assert (params["architecture"], params["width"]) == ("conv", 8.0)


def test_a_value_that_opens_a_larger_branch_is_tried_although_it_is_not_the_largest():
    space = {
        "architecture": "fc",
        "latent_dim": {"choice": [2, 4, 8]},
        "width": [{"value": 16.0, "when": {"latent_dim": 2}}, {"value": 0.25}],
    }
    params = largest(space)
    assert (params["latent_dim"], params["width"]) == (2, 16.0)


def test_values_that_do_not_go_together_are_passed_over():
    space = {
        "architecture": "fc",
        "reconstruction_loss": {"choice": ["mse", "bce"]},
        "learned_variance": {"choice": [False, True]},
    }
    assert largest(space)["learned_variance"]
    assert largest(space)["reconstruction_loss"] == "mse"


def test_among_equals_what_is_not_counted_decides():
    space = {
        "architecture": "fc",
        "reconstruction_loss": {"choice": ["ssim", "bce"]},
        "precision": {"choice": ["bfloat16", "float32"]},
    }
    params = largest(space)
    assert (params["reconstruction_loss"], params["precision"]) == ("ssim", "float32")


def test_the_default_space_has_one():
    params = largest_config(load_space(), (1, 28, 28), 10).to_params()
    assert (params["latent_dim"], params["batch_size"]) == (64, 512)
    assert params["architecture"] in ("unet", "conv1xn")
