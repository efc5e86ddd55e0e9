"""The simulator on tables small enough to follow by hand, with the real searchers and schedulers."""

import math

import pandas as pd
import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tests.benchmarks.ablation import (
    Curve,
    SimulatedTrial,
    Table,
    Winner,
    best_full_budget,
    best_last_value,
    our_scheduler,
    our_searcher,
    simulate,
    stock_scheduler,
    stock_searcher,
)
from tune.algorithms.journal import proposed_trials

EARLY = Curve((0.70, 0.75, 0.76), (1.0, 1.0, 1.0))
"""Better than LATE until the last epoch."""
LATE = Curve((0.50, 0.60, 0.80), (2.0, 2.0, 2.0))
WEAK = Curve((0.10, 0.20, 0.30), (1.5, 1.5, 1.5))
DIVERGED = Curve((0.40, math.nan), (1.0, 1.0))
TABLE = Table(
    {"latent_dim": (2, 4), "kl_weight": (0.1, 1.0)},
    {(2, 0.1): EARLY, (2, 1.0): LATE, (4, 0.1): WEAK, (4, 1.0): DIVERGED},
    max_epochs=3,
)
EARLY_PARAMS, LATE_PARAMS, WEAK_PARAMS, DIVERGED_PARAMS = (
    dict(zip(TABLE.choices, key, strict=True)) for key in TABLE.curves
)


class ListedProposals:
    """A searcher that proposes from a list, over and over, and notes its calls."""

    def __init__(self, proposals):
        self.proposals, self.calls = proposals, []

    def suggest(self, trial_id):
        self.calls.append(f"suggest {trial_id}")
        return self.proposals[int(trial_id) % len(self.proposals)]

    def on_trial_result(self, trial_id, result):
        self.calls.append(f"result {trial_id}:{result['images']}")

    def on_trial_complete(self, trial_id, result):
        self.calls.append(f"complete {trial_id}:{result['images']}")


class StopAt(FIFOScheduler):
    """A scheduler that stops every trial at one epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_trial_result(self, tune_controller, trial, result):
        return TrialScheduler.STOP if result["images"] >= self.epoch else TrialScheduler.CONTINUE


def run_listed(proposals, *, stop_at=TABLE.max_epochs, **settings):
    searcher = ListedProposals(proposals)
    return simulate(TABLE, searcher, StopAt(stop_at), **settings), searcher.calls


def test_epochs_end_in_the_order_of_simulated_time_and_a_free_worker_gets_the_next_proposal():
    trials, calls = run_listed([EARLY_PARAMS, LATE_PARAMS, WEAK_PARAMS], seconds=4.9, workers=2)
    assert [t.reported for t in trials] == [[1.0, 2.0, 3.0], [2.0, 4.0], [4.5]]
    assert calls == [
        "suggest 0",
        "suggest 1",
        "result 0:1",
        "result 0:2",
        "result 1:1",
        "complete 0:3",  # the last epoch of a trial reaches the searcher only so
        "suggest 2",
        "result 1:2",
        "result 2:1",
    ]


def test_running_trials_may_finish_without_new_ones_beside_them():
    trials, _ = run_listed([EARLY_PARAMS, LATE_PARAMS, WEAK_PARAMS], seconds=2.5, workers=2, finish=True)
    assert [t.reported for t in trials] == [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]


def test_a_stopped_trial_is_completed_at_once_with_that_epoch():
    trials, calls = run_listed([EARLY_PARAMS], seconds=2.5, workers=1, stop_at=1)
    assert [t.reported for t in trials] == [[1.0], [2.0], []]
    assert calls == ["suggest 0", "complete 0:1", "suggest 1", "complete 1:1", "suggest 2"]


def test_a_diverged_trial_ends_with_its_curve():
    trials, calls = run_listed([DIVERGED_PARAMS], seconds=2.5, workers=1)
    assert [t.reported for t in trials] == [[1.0, 2.0], []]
    assert calls[-3:] == ["result 0:2", "complete 0:2", "suggest 1"]


def test_the_two_rules_name_different_winners():
    trials = [
        SimulatedTrial(None, LATE, [2.0, 4.0]),
        SimulatedTrial(None, EARLY, [1.0, 2.0]),
        SimulatedTrial(None, WEAK, [1.5, 3.0, 4.5]),
        SimulatedTrial(None, DIVERGED, [1.0, 2.0]),
    ]
    stock = best_last_value(TABLE, trials, now=4.6)
    ours = best_full_budget(TABLE, trials, now=4.6)
    assert stock == Winner(EARLY, 0.75, full=False)
    assert ours == Winner(WEAK, 0.30, full=True)
    assert TABLE.best == 0.80
    assert TABLE.best - TABLE.full_value(stock.curve) == pytest.approx(0.04)
    assert TABLE.best - TABLE.full_value(ours.curve) == pytest.approx(0.50)
    assert best_full_budget(TABLE, trials, now=3.0) == best_last_value(TABLE, trials, now=3.0)


def test_a_table_is_read_from_rows():
    rows = [
        {"config": i, **dict(zip(TABLE.choices, key, strict=True)), "epoch": epoch + 1}
        | {"val_knn_accuracy": value, "val_loss": 1.0, "epoch_seconds": seconds}
        for i, (key, curve) in enumerate(TABLE.curves.items())
        for epoch, (value, seconds) in enumerate(zip(curve.values, curve.seconds, strict=True))
    ]
    table = Table.from_frame(pd.DataFrame(rows).sample(frac=1, random_state=0))
    assert (table.choices, table.max_epochs) == (TABLE.choices, 3)
    assert table.curve(LATE_PARAMS) == LATE
    assert table.full_seconds == pytest.approx((3 + 6 + 4.5 + 2) / 4)
    assert table.full_value(table.curve(DIVERGED_PARAMS)) == -math.inf


@pytest.mark.parametrize("seconds", [1, 40])
def test_ours_tries_each_configuration_once_and_completes_only_full_budgets(seconds):
    searcher = our_searcher(TABLE, seed=0)
    trials = simulate(TABLE, searcher, our_scheduler(TABLE, grace_period=1), seconds=seconds)
    optuna_trials = proposed_trials(searcher.study)
    assert len(optuna_trials) == len(trials) == len(TABLE.curves)
    # WAITING: the budget ended while they ran, and they could be continued.
    cut_off = {TrialState.WAITING} if seconds == 1 else set()
    assert {t.state for t in optuna_trials} - {TrialState.COMPLETE, TrialState.PRUNED} == cut_off
    full = [len(t.reported) == TABLE.max_epochs for t in trials]
    assert [t.state == TrialState.COMPLETE for t in optuna_trials] == full
    assert any(full) == (seconds == 40)


def test_stock_completes_whatever_ended_and_leaves_a_diverged_trial_running():
    searcher = stock_searcher(TABLE, seed=0)
    trials = simulate(TABLE, searcher, stock_scheduler(TABLE, grace_period=1), seconds=40)
    optuna_trials = searcher._ot_study.get_trials(deepcopy=False)
    diverged = [len(t.reported) == 2 and t.curve is DIVERGED for t in trials]
    assert any(diverged)
    assert {t.state for t, d in zip(optuna_trials, diverged, strict=True) if d} == {TrialState.RUNNING}
    early = [
        (t, s)
        for t, s in zip(optuna_trials, trials, strict=True)
        if t.state == TrialState.COMPLETE and len(s.reported) < 3
    ]
    assert early
    assert all(t.value == s.curve.values[len(s.reported) - 1] for t, s in early)
