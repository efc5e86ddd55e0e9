"""The live view: its estimates by hand, and what it shows."""

import io
import logging

import pytest
from rich.console import Console

from tests.tune.conftest import KNN, PARAMS, epoch_result
from tune.algorithms.outcome import Outcome
from tune.callbacks.progress import Pace, Progress, trial_table
from tune.storage.run_directory import RunDirectory
from tune.study.study_tables import StudyTables


def row(status, epochs, train_seconds=0.0):
    return {"status": status, "epochs": epochs, "train_seconds": train_seconds}


def test_the_time_left_is_that_of_the_epochs_to_come():
    # 2 ended after 3 epochs on average, one of them beyond epoch 2, where 1 runs: it takes 2 more, as that
    # one did. 2 are to come. That makes 2 + 2 * 3 epochs at 8 in 40 s.
    rows = [row("completed", 4), row("stopped_early", 2), row("running", 2, 9.0)]
    pace = Pace.estimate(rows, n_trials=5, max_epochs=4, elapsed_s=40.0)
    assert pace.epochs_per_s == pytest.approx(0.2)
    assert pace.remaining_s == pytest.approx(40.0)


def test_the_time_left_is_not_less_than_what_the_last_trial_takes_alone():
    # It has passed all rungs: it takes 8 epochs as the completed one did, at 10 s each. Several at once have
    # trained 18 epochs in 60 s.
    rows = [row("completed", 8), *[row("stopped_early", 2)] * 3, row("running", 4, 40.0)]
    assert Pace.estimate(rows, n_trials=5, max_epochs=8, elapsed_s=60.0).remaining_s == pytest.approx(40.0)


def test_the_epochs_of_an_earlier_session_do_not_count_as_pace():
    # 6 epochs were there; 2 in 10 s since. The trial that waits to be continued takes 3, that to come 4.
    rows = [row("completed", 4), row("running", 3), row("pending", 1)]
    pace = Pace.estimate(rows, n_trials=4, max_epochs=4, elapsed_s=10.0, epochs_before=6)
    assert pace.epochs_per_s == pytest.approx(0.2)
    assert pace.remaining_s == pytest.approx((1 + 3 + 4) / 0.2)


def test_until_a_trial_has_ended_all_are_taken_to_run_in_full():
    pace = Pace.estimate([row("running", 1), row("running", 1)], n_trials=4, max_epochs=4, elapsed_s=2.0)
    assert pace.remaining_s == pytest.approx(3 + 3 + 4 + 4)


def test_nothing_is_promised_before_the_first_epoch():
    pace = Pace.estimate([row("pending", 0), row("running", 0)], n_trials=4, max_epochs=4, elapsed_s=9.0)
    assert pace.remaining_s is None
    assert str(pace) == "0 epochs/s · 0:09"


def test_when_all_trials_have_ended_no_time_is_left():
    pace = Pace.estimate([row("completed", 4)] * 2, n_trials=2, max_epochs=4, elapsed_s=8.0)
    assert str(pace) == "1 epochs/s · 0:08"


def test_hours_are_shown_as_hours():
    assert str(Pace(3725.0, 1.0, 61.0)) == "1 epochs/s · 1:02:05 · about 1:01 left"


@pytest.fixture
def tables(tmp_path):
    tables = StudyTables(RunDirectory(tmp_path), [KNN], max_epochs=3)
    for number, value in enumerate([0.7, 0.9]):
        trial_id = f"000{number}-fc-4d"
        tables.open(trial_id, number, PARAMS)
        tables.start(trial_id)
        tables.record_epoch(trial_id, epoch_result(1, value))
    tables.end(trial_id, Outcome("stopped_early", "rung"))
    return tables


def test_in_a_notebook_there_is_one_line_that_is_replaced(tables, cell):
    progress = Progress(tables, n_trials=5, console=Console(force_jupyter=True))
    with progress:
        progress.update()
        tables.end("0000-fc-4d", Outcome("completed"))
    (line,) = cell
    assert line.startswith("2/5 trials (1 completed, 1 stopped early, 3 pending)")


def test_without_a_terminal_there_is_a_line_when_something_changes_and_not_too_often(tables):
    out, now = io.StringIO(), [0.0]
    progress = Progress(tables, n_trials=5, console=Console(file=out, soft_wrap=True), clock=lambda: now[0])

    def lines_at(*times):
        before = len(out.getvalue().splitlines())
        for now[0] in times:
            progress.on_step_end(0, [])
        return out.getvalue().splitlines()[before:]

    with progress:
        assert lines_at(1.0, 40.0) == []
        tables.record_epoch("0000-fc-4d", epoch_result(2, 0.8))
        (line,) = lines_at(45.0, 46.0)
        assert line.startswith(
            "1/5 trials (1 stopped early, 1 running, 3 pending) · 0.022 epochs/s · 0:45 · "
        )
        assert line.endswith("best 0.9000 0001-fc-4d")
        tables.record_epoch("0000-fc-4d", epoch_result(3, 0.95))
        assert lines_at(60.0, 74.0) == []
        (line,) = lines_at(75.0, 76.0, 200.0)
        assert line.endswith("best 0.9500 0000-fc-4d")
        tables.end("0000-fc-4d", Outcome("completed"))
        (line,) = lines_at(201.0, 202.0)
        assert line.startswith("2/5 trials (1 completed, 1 stopped early, 3 pending)")
    assert len(out.getvalue().splitlines()) == 4  # the last one at the end


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
