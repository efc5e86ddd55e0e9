import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluation.intervals import Interval, t_interval, welch_interval

# Multiples of a thousandth, as accuracies are: floats that nearly coincide are scipy's own trouble.
RUNS = st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=2, max_size=6)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(RUNS)
def test_the_interval_of_a_mean_is_students(values):
    interval = t_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95) if len(set(values)) > 1 else None
    assert interval.mean == pytest.approx(sum(values) / len(values))
    if expected is None:
        assert interval.half_width == pytest.approx(0, abs=1e-12)
    else:
        assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(RUNS, RUNS)
def test_the_interval_of_a_difference_is_welchs(first, second):
    interval = welch_interval(first, second)
    if len(set(first)) == len(set(second)) == 1:
        assert interval == Interval(pytest.approx(first[0] - second[0]), pytest.approx(0, abs=1e-12))
        return
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_three_runs_by_hand():
    # mean 2, standard deviation 1; the 97.5 % quantile of Student's t with 2 degrees of freedom is 4.3027
    assert t_interval([1, 2, 3]).half_width == pytest.approx(4.302653 / math.sqrt(3))


def test_a_single_run_has_a_mean_and_no_interval():
    assert t_interval([0.9]) == Interval(0.9, None)
    assert t_interval([]) is None
    assert welch_interval([0.9], [0.8, 0.7]) is None
