"""A search without training: the times at which its trials end."""

from itertools import repeat

import numpy as np
import pytest

from tune.algorithms import simulated_search
from tune.algorithms.simulated_search import TrialTime, simulate_search
from tune.algorithms.stopping_rules import make_rule

UNIT = TrialTime(start_s=0.0, epoch_s=1.0)


def simulate(times, **options):
    generator = np.random.default_rng(options.pop("seed", 0))
    usual = dict(n_trials=None, slots=1, max_epochs=3, rule=None, generator=generator)
    return simulate_search(iter(times), **(usual | options))


def test_one_after_the_other_takes_the_sum_and_all_at_once_the_longest():
    times = [TrialTime(start_s=1.0, epoch_s=epoch_s) for epoch_s in (2.0, 5.0, 1.0)]
    assert simulate(times, n_trials=3).seconds == 3 + 3 * 8
    assert simulate(times, n_trials=3, slots=3).seconds == 1 + 3 * 5


def test_a_long_trial_that_begins_last_keeps_the_others_waiting():
    times = [UNIT, UNIT, UNIT, TrialTime(start_s=0.0, epoch_s=10.0)]
    assert simulate(times, n_trials=4, slots=2).seconds == 3 + 30


def test_asha_stops_about_two_of_three_at_a_rung_and_more_while_few_have_come():
    rule = make_rule("asha", max_epochs=3, grace_period=1, reduction_factor=3)
    shares = [
        np.mean([e == 3 for e in simulate(repeat(UNIT), n_trials=300, rule=rule, seed=seed).epochs])
        for seed in range(5)
    ]
    assert np.mean(shares) == pytest.approx(1 / 3, abs=0.04)
    assert not rule.rungs[1].values  # it is as it was


def test_what_has_not_ended_within_the_limit_is_not_counted():
    found = simulate(repeat(UNIT), limit_s=10.0, slots=2)
    assert (found.epochs, found.seconds) == ([3] * 6, 10)


def test_the_examples_are_right():
    import doctest

    assert doctest.testmod(simulated_search).failed == 0
