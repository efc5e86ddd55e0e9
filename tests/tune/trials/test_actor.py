"""The process of a trial that is asked to end."""

import os
import signal
from typing import ClassVar

import pytest

from tune.trials import actor
from tune.trials.actor import GRACE_S, DeferredSigterm, is_trial_process


class FakeTimer:
    """Keeps what it was asked to do and when."""

    started: ClassVar[list] = []

    def __init__(self, *arguments):
        self.arguments = arguments

    def start(self):
        self.started.append(self)


@pytest.fixture
def ended(monkeypatch):
    """How often what was there before has been asked to end the process; Ray's handler in a worker."""
    monkeypatch.setattr(actor.threading, "Timer", FakeTimer)
    FakeTimer.started.clear()
    ended = []
    usual = signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))
    yield ended
    signal.signal(signal.SIGTERM, usual)


def ask():
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_end_comes_when_there_is_time_for_it(ended):
    end = DeferredSigterm()
    end.exit_if_signalled()
    ask()
    assert ended == []
    end.exit_if_signalled()
    assert ended == [signal.SIGTERM]


def test_who_asks_twice_need_not_wait(ended):
    DeferredSigterm()
    ask()
    ask()
    assert ended == [signal.SIGTERM]


def test_it_is_asked_again_after_a_while(ended):
    DeferredSigterm()
    ask()
    (timer,) = FakeTimer.started
    assert timer.arguments == (GRACE_S, os.kill, (os.getpid(), signal.SIGTERM))


@pytest.mark.parametrize(
    "title", ["ray::0007-conv-32d", "ray::12345-fc-2d", "ray::Trial", "ray::Trial.train"]
)
def test_a_worker_of_trials_is_known_by_its_title(title):
    assert is_trial_process(title)


@pytest.mark.parametrize("title", ["ray::IDLE", "ray::Trials", "ray::_train", "raylet", "python"])
def test_others_are_not(title):
    assert not is_trial_process(title)
