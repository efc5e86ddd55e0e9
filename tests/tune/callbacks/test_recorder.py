"""What the recorder makes of Tune's calls, and when it writes."""

import os
import pickle

import pytest

from tests.pickle_bomb import Bomb
from tests.tune.conftest import KNN, PARAMS, FakeTrial, budget_of, epoch_result
from tune.callbacks import failures
from tune.callbacks.failures import FailureTracker
from tune.callbacks.recorder import WRITE_EVERY_S, Recorder
from tune.storage.mirror import LeaseLost
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table
from tune.study import study_tables
from tune.study.study_tables import StudyTables
from tune.trials.checkpoints import CheckpointUnreachable
from vae.errors import StorageError

MAX_EPOCHS = 3
TRIAL_ID = "0000-fc-4d"


@pytest.fixture
def outcomes():
    """The outcomes that Optuna would get."""
    return []


@pytest.fixture
def recorder(tmp_path, clock, outcomes):
    return Recorder(
        StudyTables(RunDirectory(tmp_path / "run"), [KNN], budget=budget_of(MAX_EPOCHS)),
        FailureTracker(),
        tell=lambda ray_id, outcome: outcomes.append((ray_id, outcome.status)),
        cutoff_of={TRIAL_ID: (1, 0.7)}.get,
        clock=clock,
    )


def make_trial(number=0):
    return FakeTrial(f"ray-{number}", {"trial_id": f"{number:04d}-fc-4d", "number": number, "params": PARAMS})


def report(recorder, trial, *results):
    for result in results:
        trial.last_result = result
        recorder.on_trial_result(0, [trial], trial, result)


def run(recorder, trial, *results):
    recorder.on_trial_start(0, [trial], trial)
    report(recorder, trial, *results)
    recorder.on_trial_complete(0, [trial], trial)


def trials(recorder):
    return read_table(recorder.tables.run.trials_file).to_pylist()


def row_of(recorder, trial_id=TRIAL_ID):
    return recorder.tables.trials[trial_id]


def test_starts_epochs_and_ends_become_rows_and_the_end_is_told_to_optuna(recorder, outcomes):
    run(recorder, make_trial(), epoch_result(1, 0.5), epoch_result(3, 0.7))
    row = row_of(recorder)
    assert (row["status"], row["objective"], row["epochs"], row["node"]) == ("completed", 0.7, 3, "node-a")
    assert row["started_at"] <= row["finished_at"]
    assert outcomes == [("ray-0", "completed")]


def test_a_stopped_trial_has_its_rung_and_cutoff(recorder):
    run(recorder, make_trial(), epoch_result(1, 0.5))
    row = row_of(recorder)
    assert (row["stop_reason"], row["rung"], row["cutoff"]) == ("rung", 1, 0.7)


def test_a_trial_that_tune_restarts_is_pending_and_keeps_its_first_start(recorder):
    trial = make_trial()
    recorder.on_trial_start(0, [trial], trial)
    report(recorder, trial, epoch_result(1, 0.5))
    recorder.on_trial_recover(0, [trial], trial)
    assert row_of(recorder)["status"] == "pending"
    first_start = row_of(recorder)["started_at"]
    recorder.on_trial_start(0, [trial], trial)
    assert row_of(recorder)["started_at"] == first_start


def test_a_trial_has_its_row_as_soon_as_tune_knows_it(recorder):
    recorder.on_step_end(0, [make_trial(0), make_trial(1)])
    assert [row["status"] for row in recorder.tables.trials.values()] == ["pending", "pending"]


@pytest.fixture
def no_nodes(monkeypatch):
    monkeypatch.setattr(failures.ray, "nodes", list)


def fail(recorder, trial):
    """What Tune calls at the end of a trial that it does not retry."""
    recorder.failures.record(trial)
    recorder.on_trial_error(0, [trial], trial)


def test_an_error_is_recorded_in_one_line(recorder, tmp_path, no_nodes):
    trial = make_trial()
    trial.error_file = str(tmp_path / "error.txt")
    (tmp_path / "error.txt").write_text("Traceback\n  somewhere\nValueError: no such thing\n")
    trial.run_metadata.num_failures = 3
    recorder.on_trial_start(0, [trial], trial)
    fail(recorder, trial)
    recorder.tables.finish("interrupted")
    (row,) = trials(recorder)
    assert (row["status"], row["stop_reason"]) == ("failed", "error")
    assert row["error"].endswith("ValueError: no such thing")
    assert "\n" not in row["error"]


def test_an_error_that_another_user_has_pickled_is_not_loaded(recorder, tmp_path, monkeypatch, no_nodes):
    trial, bomb = make_trial(), Bomb(tmp_path)
    (tmp_path / "error.pkl").write_bytes(bomb.content)
    trial.pickled_error_file = str(tmp_path / "error.pkl")
    trial.run_metadata.num_failures = 3
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)  # only root could give the file away
    recorder.on_trial_start(0, [trial], trial)
    with bomb.stays_whole():
        fail(recorder, trial)
    assert row_of(recorder)["error"] == "RuntimeError: unknown error"


@pytest.mark.parametrize("event", ["on_trial_error", "on_trial_recover"])
def test_tune_finds_no_pickled_error_to_load_from_the_run_directory(recorder, event):
    trial = make_trial()
    recorder.on_trial_start(0, [trial], trial)
    getattr(recorder, event)(0, [trial], trial)
    assert trial.run_metadata.pickled_error_filename is None


def test_a_trial_whose_checkpoint_cannot_be_written_is_continued_later(recorder, tmp_path, caplog, no_nodes):
    trial = make_trial()
    run_error = CheckpointUnreachable("cannot reach the checkpoints: SLOW_DOWN")
    (tmp_path / "error.pkl").write_bytes(pickle.dumps(run_error))
    trial.pickled_error_file = str(tmp_path / "error.pkl")
    trial.run_metadata.num_failures = 3
    recorder.on_trial_start(0, [trial], trial)
    fail(recorder, trial)
    assert recorder.failures.count(TRIAL_ID) == 0, "the next attempt is as good as the first"
    row = row_of(recorder)
    assert (row["status"], row["stop_reason"], row["error"]) == ("stopped_early", "interrupted", None)
    assert "cannot reach the checkpoints: SLOW_DOWN; it is continued later" in caplog.text


def test_what_keeps_a_trial_from_starting_is_remembered(recorder, monkeypatch):
    def fail(run, **logs):
        raise StorageError("cannot write s3://bucket/run/optuna.journal")

    monkeypatch.setattr(RunDirectory, "push", fail)
    trial = make_trial()
    with pytest.raises(StorageError):
        recorder.on_trial_start(0, [trial], trial)
    assert "optuna.journal" in str(recorder.error)


def test_a_trial_that_tune_gives_up_too_early_is_continued_but_not_for_ever(
    recorder, outcomes, tmp_path, no_nodes
):
    trial = make_trial()
    trial.error_file = str(tmp_path / "error.txt")
    (tmp_path / "error.txt").write_text("ActorDiedError: The actor is dead\n")
    trial.run_metadata.num_failures = 1
    for _ in range(2):  # each in a run of Tune of its own
        fail(recorder, trial)
        recorder.tables.finish("interrupted")
        (row,) = trials(recorder)
        assert (row["status"], row["stop_reason"], row["error"]) == ("stopped_early", "interrupted", None)
        assert outcomes == []
        recorder.tables.reopen(row["trial_id"], PARAMS | {"schedule_epochs": [3]})
    fail(recorder, trial)
    recorder.tables.finish("interrupted")
    (row,) = trials(recorder)
    assert (row["status"], row["stop_reason"]) == ("failed", "error")
    assert row["error"] == "it failed 3 times in a row, last: RuntimeError: ActorDiedError: The actor is dead"
    assert outcomes == [("ray-0", "failed")]


def test_a_trial_that_waits_for_a_node_that_is_gone_is_continued_later(recorder, outcomes, monkeypatch):
    monkeypatch.setattr(recorder.failures, "is_unschedulable", lambda trial_id: True)
    trial = make_trial()
    recorder.on_step_end(0, [trial])
    recorder.on_trial_complete(0, [trial], trial)
    assert (row_of(recorder)["status"], row_of(recorder)["stop_reason"]) == ("stopped_early", "interrupted")
    assert outcomes == []


def test_writing_the_tables_takes_a_small_share_of_the_time(recorder, clock, monkeypatch):
    writing = []

    def slow(rows, schema, path):
        writing.append(1.0)
        clock.now += 1.0

    monkeypatch.setattr(study_tables, "write_table", slow)
    for number in range(400):  # a trial ends every half second
        trial = make_trial(number)
        report(recorder, trial, epoch_result(MAX_EPOCHS, 0.5))
        recorder.on_trial_complete(0, [trial], trial)
        recorder.on_step_end(0, [trial])
        clock.now += 0.5
    assert 0.03 < sum(writing) / clock.now < 0.06


@pytest.fixture
def written(monkeypatch):
    """The names of the files in the order in which they were written."""
    names = []
    monkeypatch.setattr(study_tables, "write_table", lambda rows, schema, path: names.append(path.name))
    return names


def test_the_tables_are_refreshed_every_few_seconds_and_only_after_a_change(recorder, clock, written):
    trial = make_trial()
    recorder.on_step_end(0, [trial])
    assert len(written) == 2
    report(recorder, trial, epoch_result(1, 0.5))
    recorder.on_step_end(1, [trial])
    assert len(written) == 2
    clock.now += WRITE_EVERY_S
    recorder.on_step_end(2, [trial])
    assert len(written) == 4
    clock.now += WRITE_EVERY_S
    recorder.on_step_end(3, [trial])
    assert len(written) == 4


def test_an_end_is_written_at_the_next_step(recorder, written):
    trial = make_trial()
    recorder.on_step_end(0, [trial])
    run(recorder, trial, epoch_result(1, 0.5))
    recorder.on_step_end(1, [trial])
    assert len(written) == 4


def test_a_lease_that_is_lost_ends_the_search(recorder, clock, monkeypatch):
    def fail(run, **logs):
        raise LeaseLost("another process has taken over")

    monkeypatch.setattr(RunDirectory, "push", fail)
    with pytest.raises(LeaseLost):
        recorder.on_step_end(0, [make_trial()])
    assert "taken over" in str(recorder.error)


def test_a_full_disk_stops_the_search_at_its_end_only(recorder, clock, monkeypatch, caplog):
    def fail(*arguments):
        raise StorageError("cannot write trials.parquet: No space left on device")

    monkeypatch.setattr(study_tables, "write_table", fail)
    recorder.on_step_end(0, [make_trial()])
    clock.now += WRITE_EVERY_S
    recorder.on_step_end(0, [make_trial()])
    assert caplog.text.count("No space left on device") == 1, "it is said once"
    with pytest.raises(StorageError):
        recorder.tables.finish("interrupted")
