"""ASHA against a table worked out by hand and against the paper's rule."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tune.conftest import KNN, FakeTrial
from tune.objective import Objective
from tune.scheduler import Asha, rung_epochs
from vae.errors import UserError


def asha(max_epochs=9, grace_period=1, reduction_factor=3.0, objective=KNN):
    return Asha(
        objective, max_epochs=max_epochs, grace_period=grace_period, reduction_factor=reduction_factor
    )


def report(scheduler, trial_id, epoch, value, **result):
    return scheduler.on_trial_result(
        None, FakeTrial(trial_id), {"epoch": epoch, scheduler.metric: value, **result}
    )


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
    assert rung_epochs(*arguments) == rungs


@given(st.integers(2, 500), st.integers(1, 499), st.floats(1.01, 50))
def test_rungs_rise_from_the_grace_period_and_stay_below_the_budget(max_epochs, grace_period, factor):
    if grace_period >= max_epochs:
        with pytest.raises(UserError, match="grace_period must be < max_epochs"):
            rung_epochs(max_epochs, grace_period, factor)
        return
    rungs = rung_epochs(max_epochs, grace_period, factor)
    assert rungs[0] == grace_period
    assert list(rungs) == sorted(set(rungs))
    assert rungs[-1] < max_epochs


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((8, 8, 3), "grace_period must be < max_epochs, got 8 and 8"),
        ((8, 0, 3), "grace_period must be >= 1, got 0"),
        ((1, 1, 3), "max_epochs must be >= 2, got 1"),
        ((8, 1, 1.0), "reduction_factor must be > 1, got 1"),
        ((8, 1, float("inf")), "reduction_factor must be > 1, got inf"),
        ((8, 1, float("nan")), "reduction_factor must be > 1, got nan"),
    ],
)
def test_a_ladder_that_cannot_work_is_refused(arguments, rule):
    with pytest.raises(UserError, match=rule):
        rung_epochs(*arguments)


def test_decisions_follow_a_table_worked_out_by_hand():
    # One of three goes on, at least one: with n values the best max(1, n // 3) of them.
    scheduler = asha()
    table = [
        ("a", 1, 0.50, "CONTINUE"),  # alone
        ("b", 1, 0.40, "STOP"),  # 2nd of 2, one goes on
        ("c", 1, 0.60, "CONTINUE"),  # 1st of 3
        ("a", 2, 0.10, "CONTINUE"),  # no rung at epoch 2
        ("d", 1, 0.55, "STOP"),  # 2nd of 4, one goes on
        ("e", 1, 0.30, "STOP"),  # 5th of 5
        ("f", 1, 0.58, "CONTINUE"),  # 2nd of 6, two go on
        ("c", 3, 0.70, "CONTINUE"),  # alone at epoch 3
        ("a", 3, 0.70, "CONTINUE"),  # as good as the best
        ("f", 3, 0.69, "STOP"),  # 3rd of 3
        ("c", 9, 0.10, "STOP"),  # the full budget
    ]
    for trial_id, epoch, value, decision in table:
        assert report(scheduler, trial_id, epoch, value) == decision, (trial_id, epoch)
    stopped = {trial_id: d[-1] for trial_id, d in scheduler.decisions.items() if d[-1].stopped}
    assert sorted(stopped) == ["b", "d", "e", "f"]
    assert (stopped["d"].rung, stopped["d"].value, stopped["d"].cutoff, stopped["d"].n_trials) == (
        1,
        0.55,
        0.6,
        4,
    )
    assert (stopped["f"].rung, stopped["f"].cutoff) == (3, 0.70)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_decisions_are_those_of_the_papers_rule_in_random_searches(factor):
    rng = random.Random(factor)
    scheduler, seen = asha(max_epochs=factor**3 + 1, reduction_factor=factor), {}
    for number in range(150):
        value = rng.random()
        for epoch in range(1, scheduler.max_epochs + 1):
            decision = report(scheduler, str(number), epoch, value)
            if epoch == scheduler.max_epochs:
                assert decision == "STOP"
                break
            if epoch not in (1, factor, factor**2, factor**3):
                assert decision == "CONTINUE"
                continue
            # "top 1/eta of the rung", by counting who is better instead of sorting
            rung = seen.setdefault(epoch, [])
            rung.append(value)
            better = sum(other > value for other in rung)
            goes_on = better < max(1, len(rung) // factor)
            assert decision == ("CONTINUE" if goes_on else "STOP")
            if not goes_on:
                break
    assert len(seen[factor**3]) < len(seen[factor]) < len(seen[1]) == 150


def test_minimising_mirrors_maximising():
    rng = random.Random(0)
    up, down = asha(), asha(objective=Objective("val_mse", "min"))
    for number in range(60):
        value = rng.random()
        assert report(up, str(number), 1, value) == report(down, str(number), 1, -value)
    assert [d.cutoff for ds in up.decisions.values() for d in ds] == [
        -d.cutoff for ds in down.decisions.values() for d in ds
    ]


def test_a_result_with_a_stop_reason_is_stopped_and_enters_no_rung():
    scheduler = asha()
    assert report(scheduler, "a", 1, float("nan"), stop_reason="nan") == "STOP"
    assert scheduler.rungs[1].values == {}
    assert report(scheduler, "b", 1, 0.1) == "CONTINUE"


def test_nan_without_a_stop_reason_is_an_error_rather_than_a_survivor():
    with pytest.raises(ValueError, match="must report a stop_reason"):
        report(asha(), "a", 1, float("nan"))


def test_a_result_without_the_time_attribute_is_an_error():
    with pytest.raises(ValueError, match="ASHA needs 'epoch'"):
        asha().on_trial_result(None, FakeTrial("a"), {"training_iteration": 1, KNN.name: 0.5})


def test_a_restored_trial_is_not_judged_again_where_it_was_judged():
    scheduler = asha()
    report(scheduler, "a", 1, 0.5)
    report(scheduler, "b", 1, 0.9)
    assert report(scheduler, "a", 1, 0.5) == "CONTINUE"
    assert len(scheduler.decisions["a"]) == 1


def test_a_trial_that_starts_beyond_a_rung_is_not_filled_into_it():
    scheduler = asha()
    report(scheduler, "a", 2, 0.99)
    assert scheduler.rungs[1].values == {}
