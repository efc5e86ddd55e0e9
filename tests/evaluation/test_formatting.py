"""The same number is written in the same way wherever it is shown."""

import doctest

import pytest

from evaluation import formatting
from evaluation.formatting import (
    counted,
    interval,
    mean_and_spread,
    number,
    objective_difference,
    objective_value,
    percent_or_missing,
    points,
    unbroken,
)
from evaluation.scores.confidence import Interval, t_interval
from tune.space import display


@pytest.mark.parametrize("module", [formatting, display])
def test_the_examples_are_right(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (float("nan"), "–"), (0.4, "0 s"), (99, "99 s"), (600, "10 min"), (9000, "2.5 h")],
)
def test_a_duration_has_the_unit_that_suits_it(seconds, text):
    assert display.duration_text(seconds) == text


def test_what_was_not_measured_is_a_dash():
    texts = [
        percent_or_missing(None),
        points(None),
        number(None),
        interval(None),
        mean_and_spread(None, None),
    ]
    assert {*texts, objective_value(None, "val_mse")} == {"–"}


def test_shares_are_in_percent_and_other_objectives_as_they_are():
    assert objective_value(0.875, "val_knn_accuracy") == "87.5 %"
    assert objective_value(0.012345, "val_mse") == "0.01235"
    assert objective_difference(-0.015, "val_knn_accuracy") == "−1.5"
    assert objective_difference(-0.015, "val_mse") == "−0.015"


def test_a_spread_is_written_with_its_mean_and_an_interval_by_its_bounds():
    assert mean_and_spread(0.875, 0.0061) == "87.5 ± 0.6 %"
    assert mean_and_spread(0.875, None) == "87.5 %"
    assert interval(Interval(0.875, 0.0061)) == "87.5 % [86.9, 88.1]"


@pytest.mark.parametrize(
    ("mean", "half_width", "metric", "text"),
    [
        (0.858, 0.212, "val_knn_accuracy", "85.8 % [64.6, 100.0]"),  # two seeds
        (0.05, 0.2, "val_knn_accuracy", "5.0 % [0.0, 25.0]"),
        (0.9, 0.3, "val_ssim", "0.9 [0.6, 1]"),
        (0.01, 0.05, "val_mse", "0.01 [0, 0.06]"),
        (30.0, 2.0, "val_psnr", "30 [28, 32]"),
    ],
)
def test_an_interval_ends_where_there_are_no_values(mean, half_width, metric, text):
    assert interval(Interval(mean, half_width), metric) == text


def test_seeds_that_all_gave_the_same_have_no_interval():
    assert interval(t_interval([1.0, 1.0, 1.0])) == "100.0 %"
    assert interval(t_interval([0.3, 0.3])) == "30.0 %"


def test_a_difference_of_shares_is_at_most_a_hundred_points():
    assert objective_difference(3.1, "val_knn_accuracy") == "+100.0"
    assert objective_difference(-3.1, "val_knn_accuracy") == "−100.0"


def test_nouns_are_plural_but_after_one():
    assert [counted(n, "epoch") for n in (0, 1, 2000)] == ["0 epochs", "1 epoch", "2,000 epochs"]


def test_an_unbroken_text_has_no_space_to_wrap_at():
    assert unbroken("91.0 ± 2.5 %").split(" ") == ["91.0\u00a0±\u00a02.5\u00a0%"]
