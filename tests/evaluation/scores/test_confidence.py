import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluation.scores.confidence import (
    Interval,
    PairedDifference,
    bootstrap_share,
    paired_difference,
    t_interval,
    welch_interval,
)

# Multiples of a thousandth, as accuracies are: floats that nearly coincide are lost in rounding.
RUNS = st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=2, max_size=6)


@given(RUNS)
def test_the_interval_of_a_mean_is_students(values):
    n = len(values)
    quantile = stats.t.ppf(0.975, n - 1)
    interval = t_interval(values)
    assert interval.mean == pytest.approx(sum(values) / n)
    assert interval.half_width == pytest.approx(quantile * np.std(values, ddof=1) / math.sqrt(n), abs=1e-9)


@given(RUNS, RUNS)
def test_the_interval_of_a_difference_is_welchs(first, second):
    interval = welch_interval(first, second)
    a, b = np.var(first, ddof=1) / len(first), np.var(second, ddof=1) / len(second)
    if a + b < 1e-20:  # all values of each are equal
        assert interval == Interval(pytest.approx(first[0] - second[0]), pytest.approx(0, abs=1e-12))
        return
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    assert interval.mean == pytest.approx(np.mean(first) - np.mean(second), abs=1e-12)
    assert interval.half_width == pytest.approx(stats.t.ppf(0.975, freedom) * math.sqrt(a + b), abs=1e-9)


def test_three_runs_by_hand():
    # mean 2, standard deviation 1; the 97.5 % quantile of Student's t with 2 degrees of freedom is 4.3027
    assert t_interval([1, 2, 3]).half_width == pytest.approx(4.302653 / math.sqrt(3))


def test_a_single_run_has_a_mean_and_no_interval():
    assert t_interval([0.9]) == Interval(0.9, None)
    assert t_interval([]) is None
    assert welch_interval([0.9], [0.8, 0.7]) is None


@pytest.mark.parametrize(("share", "n"), [(0.87, 10_000), (0.5, 40), (0.99, 300)])
def test_the_interval_of_a_share_is_that_of_resampled_images(share, n):
    right = np.arange(n) < round(share * n)
    draws = np.random.default_rng(0).choice(right, size=(4000, n)).mean(axis=1)
    expected = np.quantile(draws, [0.025, 0.975])
    assert bootstrap_share(share, n) == pytest.approx(expected, abs=0.1 * np.ptp(expected) + 1 / n)


def test_a_perfect_share_has_no_interval_to_speak_of():
    assert bootstrap_share(1.0, 50) == (1, 1)
    assert bootstrap_share(0.0, 50) == (0, 0)


def test_embeddings_are_compared_on_the_images_that_only_one_of_them_gets_right():
    first, second = np.zeros(1000, bool), np.zeros(1000, bool)
    first[:825] = True
    second[25:810] = True  # 25 + 15 that only the first gets right
    second[990:] = True  # and 10 that only the second does
    found = paired_difference(first, second)
    assert found.difference == pytest.approx(0.03)
    assert found.p_value == pytest.approx(2 * stats.binom.cdf(10, 50, 0.5))
    # The standard error of a paired difference: sqrt(40 + 10 - 30² / 1000) / 1000.
    half = 1.96 * math.sqrt(40 + 10 - 30**2 / 1000) / 1000
    assert (found.low, found.high) == pytest.approx((0.03 - half, 0.03 + half), abs=1e-3)


def test_equal_embeddings_cannot_be_told_apart():
    right = np.arange(100) < 80
    assert paired_difference(right, right) == PairedDifference(0, 0, 0, 1)
