"""The live view: what it shows, and when it prints a line."""

import io
import logging

import pytest
from rich.console import Console

from tests.tune.conftest import KNN, PARAMS, budget_of, epoch_result
from tune.algorithms.outcome import Outcome
from tune.callbacks.progress import Progress, trial_table
from tune.storage.run_directory import RunDirectory
from tune.study.study_tables import StudyTables


@pytest.fixture
def tables(tmp_path):
    tables = StudyTables(RunDirectory(tmp_path), [KNN], budget=budget_of(3))
    for number, value in enumerate([0.7, 0.9]):
        trial_id = f"000{number}-fc-4d"
        tables.open(trial_id, number, PARAMS)
        tables.start(trial_id)
        tables.record_report(trial_id, epoch_result(1, value))
    tables.end(trial_id, Outcome("stopped_early", "rung"))
    return tables


def test_in_a_notebook_there_is_one_line_that_is_replaced(tables, cell):
    progress = Progress(tables, n_trials=5, console=Console(force_jupyter=True))
    with progress:
        progress.update()
        tables.end("0000-fc-4d", Outcome("completed"))
    (line,) = cell
    assert line.startswith("2/5 trials (1 completed, 1 stopped early, 3 pending)")


@pytest.fixture
def lines_at(tables):
    """Return a function that lets a search without a terminal live at some moments, and what it prints."""
    out, now = io.StringIO(), [0.0]
    progress = Progress(tables, n_trials=5, console=Console(file=out, soft_wrap=True), clock=lambda: now[0])

    def lines_at(*times):
        before = len(out.getvalue().splitlines())
        for now[0] in times:
            progress.on_step_end(0, [])
        return out.getvalue().splitlines()[before:]

    with progress:
        yield lines_at


def test_without_a_terminal_there_is_a_line_when_a_trial_ends_or_is_the_new_best(tables, lines_at):
    assert lines_at(1.0, 40.0) == []
    tables.record_report("0000-fc-4d", epoch_result(2, 0.95))
    (line,) = lines_at(45.0, 46.0)
    assert line.startswith("1/5 trials (1 stopped early, 1 running, 3 pending) · 0 images/s · 0:45 · ")
    assert line.endswith("best 0.9500 0000-fc-4d")
    tables.end("0000-fc-4d", Outcome("completed"))
    assert lines_at(48.0) == []
    (line,) = lines_at(50.0, 51.0, 200.0)
    assert line.startswith("2/5 trials (1 completed, 1 stopped early, 3 pending)")


def test_without_a_terminal_other_epochs_are_a_line_after_a_while(tables, lines_at):
    tables.record_report("0000-fc-4d", epoch_result(2, 0.8))  # no new best
    assert len(lines_at(40.0, 41.0)) == 1
    tables.record_report("0000-fc-4d", epoch_result(3, 0.8))
    assert lines_at(45.0, 60.0, 69.0) == []
    assert len(lines_at(70.0, 71.0, 200.0)) == 1


def test_a_terminal_shows_the_running_trials_and_the_best(tables):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=150, legacy_windows=False)
    handlers = logging.getLogger().handlers[:]
    with Progress(tables, n_trials=5, console=console) as progress:
        progress._live.update(progress._view(), refresh=True)
        assert logging.getLogger().handlers != handlers
    assert logging.getLogger().handlers == handlers
    text = out.getvalue()
    assert "0000-fc-4d" in text
    assert "★" in text
    assert "1/5 trials" in text


@pytest.mark.parametrize(("width", "shown"), [(150, True), (80, False)])
def test_a_narrow_table_leaves_hyperparameters_out_rather_than_names(tables, width, shown):
    console = Console(file=io.StringIO(), width=width)
    console.print(trial_table(tables.trials.values(), KNN, max_epochs=3, best=tables.best(), width=width))
    text = console.file.getvalue()
    assert ("learning_rate" in text) == shown
    assert "0001-fc-4d" in text
    assert "val_knn_accuracy" in text
    assert "…" not in text
