"""How a stopping rule acts within Tune: stops, reasons, and results that are not fit to judge."""

import logging
import random

import pytest

from tests.tune.conftest import KNN, FakeTrial
from tune.algorithms.objective import Objective
from tune.algorithms.scheduler import EarlyStopping
from tune.algorithms.stopping_rules import Asha

MAX_EPOCHS = 9


def scheduler(objective=KNN, rule=True):
    asha = Asha(budget=MAX_EPOCHS, grace_period=1, reduction_factor=3) if rule else None
    return EarlyStopping(asha, objective, budget=MAX_EPOCHS)


def report(scheduler, trial_id, epoch, value, **result):
    trial = FakeTrial(f"ray-{trial_id}", {"trial_id": trial_id, "number": 0})
    return scheduler.on_trial_result(None, trial, {"images": epoch, scheduler.metric: value, **result})


def test_a_trial_below_the_cutoff_is_stopped_and_the_decision_is_kept_and_logged(caplog):
    caplog.set_level(logging.INFO)
    asha = scheduler()
    assert report(asha, "a", 1, 0.9) == "CONTINUE"
    assert report(asha, "b", 1, 0.5) == "STOP"
    (decision,) = asha.decisions["b"]
    assert (decision.rung, decision.value, decision.cutoff, decision.n_trials) == (1, 0.5, 0.9, 2)
    assert "b stopped after 1 images: val_knn_accuracy 0.5, cutoff 0.9 of 2 trials" in caplog.text


def test_a_trial_ends_with_its_full_budget():
    assert report(scheduler(), "a", MAX_EPOCHS, 0.1) == "STOP"


def test_without_a_rule_every_trial_has_its_full_budget():
    free = scheduler(rule=False)
    for number in range(9):
        for epoch in range(1, MAX_EPOCHS):
            assert report(free, str(number), epoch, -number) == "CONTINUE"


def test_minimising_mirrors_maximising():
    rng = random.Random(0)
    up, down = scheduler(), scheduler(Objective("val_mse", "min"))
    for number in range(60):
        value = rng.random()
        assert report(up, str(number), 1, value) == report(down, str(number), 1, -value)


def test_a_result_with_a_stop_reason_is_stopped_and_enters_no_rung():
    asha = scheduler()
    assert report(asha, "a", 1, float("nan"), stop_reason="nan") == "STOP"
    assert asha.rule.rungs[1].values == {}
    assert report(asha, "b", 1, 0.1) == "CONTINUE"


def test_a_trial_that_collapses_at_a_rung_is_stopped_and_counts_there():
    asha = scheduler()
    for number, value in enumerate([0.9, 0.8, 0.7]):
        report(asha, f"healthy {number}", 1, value)
    for number in range(3):
        assert (
            report(asha, f"collapsed {number}", 1, 0.95 if number == 0 else 0.1, stop_reason="collapsed")
            == "STOP"
        )
    assert len(asha.rule.rungs[1].values) == 6
    assert report(asha, "next", 1, 0.92) == "CONTINUE"  # among the best 2 of 7


def test_nan_without_a_stop_reason_is_an_error_rather_than_a_survivor():
    with pytest.raises(ValueError, match="must report a stop_reason"):
        report(scheduler(), "a", 1, float("nan"))


def test_a_result_without_the_time_attribute_is_an_error():
    with pytest.raises(ValueError, match="every result needs 'images'"):
        scheduler().on_trial_result(None, FakeTrial("a"), {"training_iteration": 1, KNN.name: 0.5})


def test_a_trial_that_comes_back_is_not_judged_again_where_it_was_judged():
    asha = scheduler()
    report(asha, "a", 1, 0.5)
    report(asha, "b", 1, 0.9)
    assert report(asha, "a", 1, 0.5) == "CONTINUE"
    assert len(asha.decisions["a"]) == 1


class Failures:
    """Stands in for `FailureTracker`."""

    def __init__(self):
        self.recorded, self.waiting = [], []
        self.record = self.recorded.append

    def unschedulable(self):
        return self.waiting


def test_a_failure_is_recorded_before_the_trial_is_queued_again():
    failures = Failures()
    scheduler = EarlyStopping(None, KNN, budget=9, failures=failures)
    scheduler.on_trial_error(None, FakeTrial("ray-0"))
    assert [trial.trial_id for trial in failures.recorded] == ["ray-0"]


def test_trials_that_no_node_can_take_are_ended():
    class Controller:
        def __init__(self):
            self.ended = []
            self.stop_trial = self.ended.append

        def get_trials(self):
            return []

    controller, failures = Controller(), Failures()
    scheduler = EarlyStopping(None, KNN, budget=9, failures=failures)
    assert scheduler.choose_trial_to_run(controller) is None
    assert controller.ended == []
    failures.waiting = [FakeTrial("ray-0")]
    scheduler.choose_trial_to_run(controller)
    assert controller.ended == failures.waiting
