"""The same number is written in the same way wherever it is shown."""

import doctest

import pytest

from evaluation import formatting
from evaluation.formatting import (
    counted,
    duration,
    interval,
    mean_and_spread,
    number,
    objective_difference,
    objective_value,
    percent_or_missing,
    points,
    unbroken,
)
from evaluation.scores.confidence import Interval
from tune.space import display


@pytest.mark.parametrize("module", [formatting, display])
def test_the_examples_are_right(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (float("nan"), "–"), (0.4, "0 s"), (99, "99 s"), (600, "10 min"), (9000, "2.5 h")],
)
def test_a_duration_has_the_unit_that_suits_it(seconds, text):
    assert duration(seconds) == text


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


def test_a_mean_has_its_half_width_in_the_same_unit():
    assert mean_and_spread(0.875, 0.0061) == interval(Interval(0.875, 0.0061)) == "87.5 ± 0.6 %"
    assert mean_and_spread(0.875, None) == "87.5 %"


def test_nouns_are_plural_but_after_one():
    assert [counted(n, "epoch") for n in (0, 1, 2000)] == ["0 epochs", "1 epoch", "2,000 epochs"]


def test_an_unbroken_text_has_no_space_to_wrap_at():
    assert unbroken("91.0 ± 2.5 %").split(" ") == ["91.0\u00a0±\u00a02.5\u00a0%"]
