import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluation.scores.confidence import (
    Interval,
    PairedDifference,
    paired_difference,
    share_difference,
    share_interval,
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


@pytest.mark.parametrize(("share", "n"), [(0.87, 10_000), (0.5, 40), (0.9, 300)])
def test_the_interval_of_a_share_is_that_of_resampled_images_where_there_are_many(share, n):
    right = np.arange(n) < round(share * n)
    draws = np.random.default_rng(0).choice(right, size=(4000, n)).mean(axis=1)
    expected = np.quantile(draws, [0.025, 0.975])
    assert share_interval(share, n) == pytest.approx(expected, abs=0.1 * np.ptp(expected) + 1 / n)


@pytest.mark.parametrize("n", [20, 100, 359, 2000])
@pytest.mark.parametrize("share", [0.7, 0.88, 0.95, 0.99, 0.995])
def test_the_interval_of_a_share_covers_it_almost_as_often_as_it_says(share, n):
    right = np.arange(n + 1)
    weights = stats.binom.pmf(right, n, share)
    covered = [low <= share <= high for low, high in (share_interval(k / n, n) for k in right)]
    assert weights[covered].sum() > 0.9  # the bootstrap: 0.18 for 20 images and a share of 0.99


@pytest.mark.parametrize("n", [1, 20, 359, 10_000])
def test_the_interval_of_a_perfect_share_has_a_width_and_ends_at_one(n):
    low, high = share_interval(1.0, n)
    assert high == 1
    assert low == pytest.approx(n / (n + 1.959964**2))
    assert share_interval(0.0, n) == pytest.approx((0, 1 - low))


def test_the_difference_of_two_shares_has_newcombes_interval():
    # Newcombe 1998, table II, (a): 56/70 - 48/80, method 10
    found = share_difference(56 / 70, 70, 48 / 80, 80)
    assert found.difference == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    # (h): 10/10 - 0/10
    found = share_difference(1.0, 10, 0.0, 10)
    assert (found.low, found.high) == pytest.approx((0.6075, 1.0), abs=5e-5)


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


@pytest.mark.parametrize("n_right", [80, 100])
def test_equal_embeddings_cannot_be_told_apart_but_their_difference_is_not_known_exactly(n_right):
    right = np.arange(100) < n_right
    found = paired_difference(right, right)
    assert found == PairedDifference(0, -found.high, found.high, 1)
    assert found.high == pytest.approx(1.96 * math.sqrt(2 / 102 / 102), rel=1e-3)


def test_no_difference_is_beyond_all_images():
    right = np.ones(5, dtype=bool)
    found = paired_difference(right, ~right)
    assert found.low < found.difference == found.high == 1


@pytest.mark.parametrize("shares", [(0.02, 0.02), (0.01, 0.0), (0.1, 0.05), (0.0, 0.0)])
def test_the_interval_of_a_difference_on_the_same_images_covers_it(shares):
    n, generator = 359, np.random.default_rng(0)
    counts = generator.multinomial(n, [*shares, 1 - sum(shares)], size=400)
    kinds = [np.repeat([0, 1, 2], row) for row in counts]
    found = [paired_difference(kind == 0, kind == 1) for kind in kinds]
    assert np.mean([each.low <= shares[0] - shares[1] <= each.high for each in found]) > 0.92


def test_of_several_comparisons_all_intervals_cover_at_once():
    n, m, shares, generator = 359, 5, (0.06, 0.03), np.random.default_rng(0)
    counts = generator.multinomial(n, [*shares, 1 - sum(shares)], size=(300, m))
    covered = []
    for family in counts:
        kinds = [np.repeat([0, 1, 2], row) for row in family]
        found = [paired_difference(kind == 0, kind == 1, n_comparisons=m) for kind in kinds]
        covered.append(all(each.low <= shares[0] - shares[1] <= each.high for each in found))
    assert np.mean(covered) > 0.92  # with intervals of one comparison each: 0.8


def test_of_several_comparisons_each_p_value_is_multiplied_by_their_number():
    first, second = np.arange(100) < 90, np.arange(100) < 80
    alone, of_four = paired_difference(first, second), paired_difference(first, second, n_comparisons=4)
    assert of_four.p_value == pytest.approx(4 * alone.p_value)
    assert paired_difference(first, first, n_comparisons=4).p_value == 1
