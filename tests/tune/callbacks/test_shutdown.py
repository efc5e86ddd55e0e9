"""Signals and the time budget become the one signal on which Tune ends well."""

import os
import signal

import pytest
from ray.tune.tune import _setup_signal_catching

from tests.tune.conftest import KNN, budget_of
from tune.callbacks.shutdown import Interruption, TimeLimit
from tune.callbacks.utilization import Utilization
from tune.cluster import resources
from tune.cluster.resources import TrialResources
from tune.storage.run_directory import RunDirectory
from tune.study.study_tables import StudyTables
from tune.study.time_budget import TimeBudget


@pytest.fixture
def ended(monkeypatch):
    """Collect the signals that reach Tune."""
    received = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: received.append(number))
    # A suite that is started in the background has Ctrl-C switched off.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield received
    signal.signal(signal.SIGINT, usual)
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_search_at_the_next_step(ended, number):
    interruption = Interruption()
    with interruption.catching_signals():
        interruption.on_step_begin(0, [])
        assert not ended
        os.kill(os.getpid(), number)
        assert interruption.reason == "interrupted"
        assert not ended  # Tune may not be ready for it yet
        interruption.on_step_begin(1, [])
        interruption.on_step_begin(2, [])
    assert ended == [signal.SIGUSR1]


def test_a_second_ctrl_c_works_as_usual(ended):
    interruption = Interruption()
    with interruption.catching_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_leaves_at_once_while_tune_is_ending(ended):
    interruption = Interruption()
    interruption.reason = "time_budget"
    with interruption.catching_signals():
        ending = _setup_signal_catching()
        interruption.on_step_begin(0, [])
        assert ending.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert interruption.reason == "time_budget"


def test_ctrl_c_works_as_usual_after_the_search(ended):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interruption().catching_signals():
        assert signal.getsignal(signal.SIGINT) is not handlers[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_the_time_budget_ends_the_search(ended, tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "alive_nodes", list)
    tables = StudyTables(RunDirectory(tmp_path), [KNN], budget=budget_of(3))
    reasons = []
    for seconds in (-1.0, 3600.0):
        interruption = Interruption()
        budget = TimeBudget(
            seconds, started=0.0, evaluation_s=0.0, finalists=3, finalist_seeds=1, clock=lambda: 0.0
        )
        limit = TimeLimit(interruption, budget, tables, Utilization(TrialResources(1.0, 0.0, 2)))
        for callback in (limit, interruption):
            callback.on_step_begin(0, [])
        reasons.append(interruption.reason)
    assert reasons == ["time_budget", None]
    assert ended == [signal.SIGUSR1]


def test_an_interrupted_search_stays_interrupted_when_its_time_is_up(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "alive_nodes", list)
    interruption = Interruption()
    interruption.reason = "interrupted"
    budget = TimeBudget(-1.0, started=0.0, evaluation_s=0.0, finalists=3, finalist_seeds=1)
    tables = StudyTables(RunDirectory(tmp_path), [KNN], budget=budget_of(3))
    TimeLimit(interruption, budget, tables, Utilization(TrialResources(1.0, 0.0, 2))).on_step_begin(0, [])
    assert interruption.reason == "interrupted"
