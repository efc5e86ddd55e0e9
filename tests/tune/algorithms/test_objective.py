"""Which objective a search accepts."""

import math

import pytest

from tune.algorithms.objective import SIZES, Objective, choose_objective, choose_objectives
from vae.errors import UsageError


@pytest.mark.parametrize(
    ("labelled", "expected"), [(True, "val_knn_accuracy"), (False, "val_neighbour_recall")]
)
def test_the_default_depends_on_the_labels(labelled, expected):
    assert choose_objective(None, labelled=labelled, searched=set()).name == expected


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("val_knn_accuracy", "max"),
        ("val_ssim", "max"),
        ("val_psnr", "max"),
        ("val_mse", "min"),
        ("val_loss", "min"),
        ("val_neighbour_recall", "max"),
        ("val_rankme", "max"),
        ("latent_dim", "min"),
        ("n_parameters", "min"),
    ],
)
def test_each_objective_knows_its_direction(name, mode):
    assert choose_objective(name, labelled=True, searched={"learning_rate"}) == Objective(name, mode)


@pytest.mark.parametrize(
    "scale",
    [
        *("reconstruction_loss", "kl_weight", "image_weight", "ssim_window", "free_bits"),
        *("balance_losses", "learned_variance"),
    ],
)
def test_val_loss_is_refused_where_its_scale_is_searched(scale):
    with pytest.raises(
        UsageError, match=f"while {scale} change.*only pick|while {scale} change.*pick a scale"
    ):
        choose_objective("val_loss", labelled=True, searched={scale, "learning_rate"})


def test_knn_accuracy_is_refused_without_labels():
    with pytest.raises(UsageError, match="needs labels.*val_neighbour_recall"):
        choose_objective("val_knn_accuracy", labelled=False, searched=set())


@pytest.mark.parametrize("size", SIZES)
def test_a_size_is_an_objective_only_beside_a_measured_one(size):
    names = ["val_ssim", size]
    assert [o.name for o in choose_objectives(names, labelled=True, searched=set())] == names
    with pytest.raises(UsageError, match=f"must be measured, got '{size}'.*--objective val_knn_accuracy"):
        choose_objectives([size], labelled=True, searched=set())
    with pytest.raises(UsageError, match="must be measured"):
        choose_objectives([size, "val_ssim"], labelled=True, searched=set())


def test_a_misspelt_objective_gets_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'val_knn_accuracy'"):
        choose_objective("val_knn_acuracy", labelled=True, searched=set())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_value_that_is_not_finite_is_never_better(mode, value):
    objective = Objective("val_mse", mode)
    assert not objective.better(value, None)
    assert not objective.better(value, 0.5)


def test_better_follows_the_mode():
    assert Objective("x", "max").better(2.0, 1.0)
    assert not Objective("x", "max").better(1.0, 1.0)
    assert Objective("x", "min").better(1.0, 2.0)
    assert Objective("x", "min").better(1.0, None)
