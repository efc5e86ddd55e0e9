"""What a log shows of an evaluation, at moments that the test chooses."""

import io
import time

import pytest
from rich.console import Console

from evaluation.embedders import EmbeddingKey, Images, Pca, Umap
from evaluation.pipeline import progress as module
from evaluation.pipeline.cost import expected_steps, wall_seconds
from evaluation.pipeline.progress import Progress
from evaluation.pipeline.serial import MissingScore

FIRST, SECOND = EmbeddingKey("pca", 2), EmbeddingKey("pca", 10)
STEPS = {(key, which): 50.0 for key in (FIRST, SECOND) for which in (None, "test")}


class Log:
    """A progress without a terminal, and a clock."""

    def __init__(self, n_slots=1):
        self.now, self.out = 0.0, io.StringIO()
        console = Console(file=self.out, width=200)
        self.progress = Progress(console, STEPS, n_slots, clock=lambda: self.now)

    def lines_at(self, *times):
        before = len(self.lines)
        for self.now in times:
            self.progress.look()
        return self.lines[before:]

    @property
    def lines(self):
        return self.out.getvalue().splitlines()


def test_the_first_line_comes_at_once_and_says_that_it_estimates():
    log = Log()
    with log.progress:
        assert log.lines == ["evaluating: 4 steps, about 3.3 min left (estimated)"]


def test_a_line_comes_at_least_every_30_s_while_nothing_ends():
    log = Log(n_slots=2)
    with log.progress:
        assert log.lines_at(*range(1, 19)) == []
        lines = log.lines_at(*range(19, 200))
    assert len(lines) >= 199 // 30
    assert lines[0] == "0/4 steps, 20 s, about 2.2 min left (estimated)"
    assert lines[-1].endswith("longer than estimated")


def test_the_thread_prints_without_an_event(monkeypatch):
    monkeypatch.setattr(module, "PRINT_EVERY_S", 0.0)
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.001)
    log = Log()
    with log.progress:
        deadline = time.monotonic() + 30
        while len(log.lines) < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
    assert len(log.lines) >= 3


def test_the_time_left_follows_the_speed_of_the_steps_that_are_done():
    slow, fast = Log(), Log()
    for log, seconds in ((slow, 400), (fast, 20)):
        with log.progress:
            log.now = seconds
            log.progress.show(MissingScore(FIRST, None, "broken"))
    assert slow.lines[-1] == "2/4 pca 2-d done, 400 s, about 5.5 min left (estimated)"
    assert fast.lines[-1] == "2/4 pca 2-d done, 20 s, about 38 s left (estimated)"


def test_at_the_end_nothing_is_left():
    log = Log()
    with log.progress:
        log.progress.show(MissingScore(FIRST, None, "broken"))
        log.progress.show(MissingScore(SECOND, None, "broken"))
    assert log.lines[-1] == "4/4 pca 10-d done, 0 s"


def test_the_steps_are_those_of_the_evaluation_and_a_method_with_one_graph_is_a_chain(few_digits):
    images = Images.from_dataset(few_digits)
    expected = expected_steps(images, [Pca((2, 3)), Umap((2, 10))])
    assert len(expected) == 4 * 4
    assert all(seconds > 0 for (key, which), seconds in expected.items() if which or key.method == "umap")
    umap = sum(seconds for (key, which), seconds in expected.items() if key.method == "umap" and not which)
    assert wall_seconds(expected, 1) == pytest.approx(sum(expected.values()))
    assert umap < wall_seconds(expected, 1000) < 1.1 * umap
