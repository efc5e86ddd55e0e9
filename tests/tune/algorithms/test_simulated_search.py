"""A search without training: the times at which its trials end."""

from itertools import repeat

import numpy as np

from tune.algorithms import simulated_search
from tune.algorithms.budget import Budget
from tune.algorithms.simulated_search import TrialTime, simulate_search
from tune.algorithms.stopping_rules import make_rule

BUDGET = Budget(images=3, n_train=1, grace_period=1, reduction_factor=3)


def time(image_s, start_s=0.0):
    """Return what a trial takes that reports for nothing."""
    return TrialTime(start_s=start_s, image_s=image_s, report_s=0.0, quick_s=0.0)


UNIT = time(1.0)


def simulate(times, **options):
    generator = np.random.default_rng(options.pop("seed", 0))
    usual = dict(n_trials=None, slots=1, budget=BUDGET, rule=None, generator=generator)
    return simulate_search(iter(times), **(usual | options))


def test_one_after_the_other_takes_the_sum_and_all_at_once_the_longest():
    times = [time(image_s, start_s=1.0) for image_s in (2.0, 5.0, 1.0)]
    assert simulate(times, n_trials=3).seconds == 3 + 3 * 8
    assert simulate(times, n_trials=3, slots=3).seconds == 1 + 3 * 5


def test_a_long_trial_that_begins_last_keeps_the_others_waiting():
    times = [UNIT, UNIT, UNIT, time(10.0)]
    assert simulate(times, n_trials=4, slots=2).seconds == 3 + 30


def test_asha_stops_about_two_of_three_at_a_rung_and_more_while_few_have_come():
    rule = make_rule("asha", budget=3, grace_period=1, reduction_factor=3)
    shares = [
        np.mean([n == 3 for n in simulate(repeat(UNIT), n_trials=300, rule=rule, seed=seed).images])
        for seed in range(5)
    ]
    assert 0.25 < np.mean(shares) < 1 / 3
    assert not rule.rungs[1].values  # it is as it was


def test_what_has_not_ended_within_the_limit_is_not_counted():
    found = simulate(repeat(UNIT), limit_s=10.0, slots=2)
    assert (found.images, found.seconds) == ([3] * 6, 10)


def test_the_examples_are_right():
    import doctest

    assert doctest.testmod(simulated_search).failed == 0


def test_a_sampler_that_learns_has_more_trials_continue():
    rule = make_rule("asha", budget=3, grace_period=1, reduction_factor=4)
    images = [
        np.mean(
            [sum(simulate(repeat(UNIT), n_trials=100, rule=rule, seed=s, gain=g).images) for s in range(5)]
        )
        for g in (0.0, 1.0)
    ]
    assert images[0] < 0.95 * images[1]
