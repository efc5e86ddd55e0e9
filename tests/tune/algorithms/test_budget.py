"""Where rungs lie, against tables worked out by hand."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.algorithms.budget import Budget, rung_cutoff, rungs_below
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


def choose(n_train, **asked):
    usual = {"images": None, "max_epochs": None, "grace_period": None, "batch_size": 512}
    return Budget.choose(**usual | {"reduction_factor": 8.0, "has_rungs": True} | asked, n_train=n_train)


def test_its_text_has_epochs_as_people_write_them():
    assert str(choose(50_000)) == "400,000 images (8 epochs)"
    assert str(choose(200, batch_size=16)) == "400,000 images (2,000 epochs)"


def test_by_default_fashion_mnist_is_looked_at_after_an_eighth_of_an_epoch():
    budget = choose(50_000)
    assert (budget.images, budget.max_epochs) == (400_000, 8)
    assert budget.rungs == (6_250, 50_000)
    assert budget.reports == (6_250, *range(50_000, 400_001, 50_000))
    assert budget.quick_until == 50_000


@pytest.mark.parametrize(("n_train", "max_epochs"), [(6_076, 65.8), (1_000_000, 0.4)])
def test_a_budget_is_the_same_on_fewer_images_and_on_more(n_train, max_epochs):
    budget = choose(n_train)
    assert budget.max_epochs == pytest.approx(max_epochs, abs=0.1)
    assert budget.reports == choose(50_000).reports


@given(
    st.integers(50, 2000), st.floats(1, 40), st.sampled_from([8, 64, 512]), st.sampled_from([2.0, 3.0, 4.0])
)
def test_reports_rise_to_the_budget_and_are_at_least_a_batch_apart(n_train, max_epochs, batch_size, factor):
    if max_epochs * n_train < 2 * batch_size:
        return
    budget = choose(n_train, max_epochs=max_epochs, batch_size=batch_size, reduction_factor=factor)
    reports = budget.reports
    assert reports[-1] == budget.images
    assert all(later - earlier >= batch_size for earlier, later in pairwise(reports))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"images": 100}, "budget must be >= 512 images, the largest batch_size of the space, got 100"),
        (
            {"max_epochs": 0.1},
            "max_epochs must be >= 0.512 with 1000 training images, the largest",
        ),
        ({"grace_period": 0.1}, r"grace_period must be >= 0.512 epochs, a step of the .* \(512\), got 0.1"),
        ({"grace_period": 8, "max_epochs": 8}, "grace_period must be < max_epochs, got 8 and 8: nothing can"),
    ],
)
def test_a_budget_that_cannot_work_is_refused(asked, message):
    with pytest.raises(UsageError, match=message):
        choose(1000, **asked)
