"""Where rungs lie, against tables worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.algorithms.budget import rung_cutoff, rungs_below
from vae.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "rungs"),
    [
        ((27, 1, 3), (1, 3, 9)),  # floor(log(27) / log(3)) is 2 in floating point
        ((9, 1, 3), (1, 3)),
        ((8, 2, 3), (2, 6)),
        ((243, 1, 3), (1, 3, 9, 27, 81)),
        ((1000, 1, 10), (1, 10, 100)),
        ((20, 5, 4), (5,)),
        ((6, 1, 1.5), (1, 2, 3, 5)),
        ((2, 1, 4), (1,)),
    ],
)
def test_rungs_lie_at_powers_of_the_reduction_factor_below_the_budget(arguments, rungs):
    assert rungs_below(*arguments) == rungs


@given(st.integers(2, 500), st.integers(1, 499), st.floats(1.01, 50))
def test_rungs_rise_from_the_grace_period_and_stay_below_the_budget(max_epochs, grace_period, factor):
    if grace_period >= max_epochs:
        with pytest.raises(UsageError, match="grace_period must be < the budget"):
            rungs_below(max_epochs, grace_period, factor)
        return
    rungs = rungs_below(max_epochs, grace_period, factor)
    assert rungs[0] == grace_period
    assert list(rungs) == sorted(set(rungs))
    assert rungs[-1] < max_epochs


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((8, 8, 3), "grace_period must be < the budget, got 8 and 8"),
        ((8, 0, 3), "grace_period must be >= 1, got 0"),
        ((1, 1, 3), "grace_period must be < the budget, got 1 and 1"),
        ((8, 1, 1.0), "reduction_factor must be > 1, got 1"),
        ((8, 1, float("inf")), "reduction_factor must be > 1, got inf"),
        ((8, 1, float("nan")), "reduction_factor must be > 1, got nan"),
    ],
)
def test_a_ladder_that_cannot_work_is_refused(arguments, rule):
    with pytest.raises(UsageError, match=rule):
        rungs_below(*arguments)


def test_one_of_three_goes_on_and_always_one():
    assert rung_cutoff([0.5], 3) == 0.5
    assert rung_cutoff([0.1, 0.3, 0.2, 0.5, 0.4], 3) == 0.5
    assert rung_cutoff([0.1, 0.3, 0.2, 0.5, 0.4, 0.6], 3) == 0.5
