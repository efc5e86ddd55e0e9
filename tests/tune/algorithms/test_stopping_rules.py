"""The stopping rules against tables worked out by hand and against the papers' own words."""

import random
from statistics import mean, median

import pytest

from tune.algorithms.stopping_rules import Asha, Hyperband, Median, PerBudget, make_rule
from vae.errors import UsageError


def asha(budget=9, grace_period=1, reduction_factor=3.0):
    return Asha(budget=budget, grace_period=grace_period, reduction_factor=reduction_factor)


def goes_on(rule, trial_id, epoch, value, number=0):
    decision = rule.judge(trial_id, number, epoch, value)
    return decision is None or not decision.stopped


def test_decisions_follow_a_table_worked_out_by_hand():
    # One of three goes on, at least one: with n values the best max(1, n // 3) of them.
    rule = asha()
    table = [
        ("a", 1, 0.50, True),  # alone
        ("b", 1, 0.40, False),  # 2nd of 2, one goes on
        ("c", 1, 0.60, True),  # 1st of 3
        ("a", 2, 0.10, True),  # no rung at epoch 2
        ("d", 1, 0.55, False),  # 2nd of 4, one goes on
        ("e", 1, 0.30, False),  # 5th of 5
        ("f", 1, 0.58, True),  # 2nd of 6, two go on
        ("c", 3, 0.70, True),  # alone at epoch 3
        ("a", 3, 0.70, True),  # as good as the best
        ("f", 3, 0.69, False),  # 3rd of 3
    ]
    for trial_id, epoch, value, expected in table:
        assert goes_on(rule, trial_id, epoch, value) is expected, (trial_id, epoch)


def test_a_decision_tells_rung_value_cutoff_and_how_many_were_there():
    rule = asha()
    for trial_id, value in [("a", 0.5), ("b", 0.4), ("c", 0.6)]:
        rule.judge(trial_id, 0, 1, value)
    decision = rule.judge("d", 3, 1, 0.55)
    assert (decision.rung, decision.value, decision.cutoff, decision.n_trials) == (1, 0.55, 0.6, 4)
    assert decision.stopped


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_decisions_are_those_of_the_papers_rule_among_all_and_among_the_latest_trials(factor):
    rng = random.Random(factor)
    budget = factor**3 + 1
    rule, seen = asha(budget=budget, reduction_factor=factor), {}
    for number in range(150):
        value = rng.random()
        for epoch in range(1, budget):
            decision = goes_on(rule, str(number), epoch, value, number)
            if epoch not in (1, factor, factor**2, factor**3):
                assert decision
                continue
            # "top 1/eta of the rung", by counting who is better instead of sorting
            rung = seen.setdefault(epoch, [])
            rung.append(value)
            assert decision == all(
                sum(other > value for other in part) < max(1, len(part) // factor)
                for part in (rung, rung[-4 * factor :])
            )
            if not decision:
                break
    assert len(seen[factor**3]) < len(seen[factor]) < len(seen[1]) == 150


@pytest.mark.parametrize(("gain", "most"), [(0.0, 0.3), (0.02, 0.4)])
def test_about_one_in_eta_continues_even_if_proposals_become_better(gain, most):
    rng = random.Random(0)
    rule = asha(budget=9, reduction_factor=4)
    values = [gain * number + rng.random() for number in range(200)]
    passed = sum(goes_on(rule, str(number), 1, value, number) for number, value in enumerate(values))
    assert 0.15 < passed / 200 < most
    better = [sum(other > value for other in values[:n]) for n, value in enumerate(values)]
    among_all = sum(count < max(1, (n + 1) // 4) for n, count in enumerate(better))
    assert passed <= among_all
    if gain:
        assert among_all / 200 > 0.5


def test_a_trial_is_judged_once_at_a_rung():
    rule = asha()
    rule.judge("a", 0, 1, 0.5)
    rule.judge("b", 1, 1, 0.9)
    assert rule.judge("a", 0, 1, 0.1) is None
    assert rule.rungs[1].values == {"a": 0.5, "b": 0.9}


def test_a_trial_that_starts_beyond_a_rung_is_not_filled_into_it():
    rule = asha()
    rule.judge("a", 0, 2, 0.99)
    assert rule.rungs[1].values == {}


@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_a_rule_restored_from_learning_curves_decides_as_one_that_never_stopped(name):
    rng = random.Random(1)
    numbers = {"budget": 27, "grace_period": 1, "reduction_factor": 3}
    whole, curves, halfway = make_rule(name, **numbers), {}, None
    for number in range(80):
        if number == 40:
            halfway = make_rule(name, **numbers)
            for i, curve in curves.items():
                halfway.restore(str(i), i, curve)
        value = rng.random()
        curves[number] = {}
        for epoch in range(1, 27):
            curves[number][epoch] = value + epoch / 100
            decision = whole.judge(str(number), number, epoch, curves[number][epoch])
            if halfway is not None:
                assert halfway.judge(str(number), number, epoch, curves[number][epoch]) == decision
            if decision is not None and decision.stopped:
                break


def test_a_stopped_trial_becomes_promising_when_worse_ones_join_its_rung():
    rule = asha()
    rule.judge("best", 0, 1, 0.9)
    assert rule.judge("good", 1, 1, 0.8).stopped
    assert not rule.promising("good", 1)
    for number in range(4):
        rule.judge(f"bad {number}", 2 + number, 1, 0.1)
    assert rule.promising("good", 1)
    assert not rule.promising("bad 0", 2)
    assert not rule.promising("never seen", 9)


def test_hyperband_gives_the_brackets_in_turn_and_judges_within_one():
    rule = Hyperband(budget=9, grace_period=1, reduction_factor=3)
    assert [sorted(bracket.rungs) for bracket in rule.brackets] == [[1, 3], [3]]
    assert rule.judge("a", 0, 1, 0.9) is not None
    assert rule.judge("b", 1, 1, 0.1) is None  # the second bracket has no rung there
    assert not rule.judge("b", 1, 3, 0.1).stopped  # alone in its own
    assert rule.judge("c", 2, 1, 0.1).stopped


def test_the_median_rule_compares_the_best_with_the_running_means_of_the_others():
    rule = Median(budget=10, grace_period=2)
    others = {"a": [0.2, 0.4], "b": [0.5, 0.7], "c": [0.1, 0.9]}
    for number, (name, values) in enumerate(others.items()):
        for epoch, value in enumerate(values, start=1):
            assert goes_on(rule, name, epoch, value, number)
    assert rule.judge("d", 3, 1, 0.0) is None  # within the grace period
    decision = rule.judge("d", 3, 2, 0.45)
    assert decision.cutoff == pytest.approx(median(mean(values) for values in others.values()))
    assert decision.stopped
    rule.judge("e", 4, 1, 0.6)
    assert goes_on(rule, "e", 2, 0.1, 4)  # its best is what counts


def test_the_median_rule_waits_for_company():
    rule = Median(budget=10, grace_period=1)
    for number, value in enumerate([0.9, 0.8, 0.1]):
        assert rule.judge(str(number), number, 1, value) is None
    assert rule.judge("3", 3, 1, 0.1).stopped


@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_trials_of_another_budget_are_not_compared(name):
    numbers = {"budget": 9, "grace_period": 1, "reduction_factor": 3}
    rule = PerBudget(make_rule(name, **numbers), dict.fromkeys(range(4), 3))
    for number in range(4):  # an annealed schedule is ahead at first
        rule.restore(f"old {number}", number, {1: 0.9 + number / 100, 2: 0.95, 3: 0.97})
    alone = make_rule(name, **numbers)
    for number in range(4, 12):
        for epoch in (1, 2, 3):
            value = 0.5 + number % 3 / 10 + epoch / 100
            expected = alone.judge(f"new {number}", number, epoch, value)
            assert rule.judge(f"new {number}", number, epoch, value) == expected


def test_a_trial_is_promising_among_those_of_its_budget():
    rule = PerBudget(asha(), {0: 3, 1: 3})
    rule.restore("old best", 0, {1: 0.4})
    rule.restore("old", 1, {1: 0.3})
    rule.restore("new", 2, {1: 0.9})
    assert rule.promising("old best", 0)
    assert not rule.promising("old", 1)


def test_no_scheduler_is_no_rule_whatever_the_numbers():
    assert make_rule("none", budget=1, grace_period=1, reduction_factor=3) is None


def test_an_unknown_scheduler_is_refused():
    with pytest.raises(UsageError, match="must be one of asha, hyperband, median, none, got 'pbt'"):
        make_rule("pbt", budget=9, grace_period=1, reduction_factor=3)
