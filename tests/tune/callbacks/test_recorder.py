"""The tables and checkpoints that the recorder keeps, driven as Tune drives it."""

import errno
import math
import os
import pickle
import shutil

import pyarrow as pa
import pytest

from tests.pickle_bomb import Bomb
from tests.tune.conftest import KNN, FakeTrial
from tune.algorithms.objective import Objective
from tune.callbacks import failures
from tune.callbacks import recorder as module
from tune.callbacks.recorder import WRITE_EVERY_S, Recorder
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import EPOCHS, TRIALS, read_table
from tune.trials.checkpoints import CheckpointUnreachable
from vae.checkpoint import load_model, save_model
from vae.config import Config
from vae.errors import StorageError
from vae.models import build_model

MAX_EPOCHS = 3
PARAMS = {"architecture": "fc", "latent_dim": 4, "max_epochs": MAX_EPOCHS, "seed": 5}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recorder(tmp_path, clock):
    return Recorder(RunDirectory(tmp_path / "run"), [KNN], max_epochs=MAX_EPOCHS, clock=clock)


def make_trial(number=0, **params):
    return FakeTrial(
        f"ray-{number}", {"trial_id": f"{number:04d}-fc-4d", "number": number, "params": {**PARAMS, **params}}
    )


def metrics(epoch, value, **more):
    panel = {"val_ssim": value / 2, "val_mse": 0.1, "val_psnr": 10.0, "val_kl": 1.0, "active_units": 3}
    other = {
        name: 1.0 for name in EPOCHS.names if name not in ("study", "trial_id", "epoch", "val_knn_accuracy")
    }
    return (
        other
        | panel
        | {"epoch": epoch, "val_knn_accuracy": value, "hostname": "node-a", "n_parameters": 7, **more}
    )


def report(recorder, trial, *results):
    for result in results:
        trial.last_result = result
        recorder.on_trial_result(0, [trial], trial, result)


def run(recorder, trial, *results):
    recorder.on_trial_start(0, [trial], trial)
    report(recorder, trial, *results)
    recorder.on_trial_complete(0, [trial], trial)


def trials(recorder):
    return read_table(recorder.run.trials_file).to_pylist()


def epochs(recorder):
    return read_table(recorder.run.epochs_file).to_pylist()


def test_a_completed_trial_has_the_panel_of_its_best_epoch(recorder):
    run(recorder, make_trial(), metrics(1, 0.5), metrics(2, 0.8), metrics(3, 0.7))
    recorder.finish("interrupted")
    (row,) = trials(recorder)
    assert (row["status"], row["stop_reason"]) == ("completed", None)
    assert (row["objective"], row["best_epoch"], row["epochs"]) == (0.8, 2, 3)
    assert (row["val_knn_accuracy"], row["val_ssim"]) == (0.8, 0.4)
    assert (row["study"], row["node"], row["n_parameters"], row["seed"]) == ("run", "node-a", 7, 5)
    assert row["train_seconds"] == 3.0
    assert row["started_at"] <= row["finished_at"]


@pytest.mark.parametrize(
    ("last", "status", "reason"),
    [
        (metrics(3, 0.5), "completed", None),
        (metrics(2, 0.5), "stopped_early", "rung"),
        (metrics(2, math.nan, stop_reason="nan", train_loss=math.nan), "failed", "nan"),
        ({"epoch": 1, "stop_reason": "oom", "val_knn_accuracy": math.nan}, "failed", "oom"),
    ],
)
def test_the_status_says_how_a_trial_ended(recorder, last, status, reason):
    run(recorder, make_trial(), metrics(1, 0.6), last)
    recorder.finish("interrupted")
    (row,) = trials(recorder)
    assert (row["status"], row["stop_reason"]) == (status, reason)
    assert row["objective"] == 0.6


def test_a_report_without_an_epoch_adds_no_row(recorder):
    run(
        recorder,
        make_trial(),
        metrics(1, 0.6),
        {"epoch": 1, "stop_reason": "oom", "val_knn_accuracy": math.nan},
    )
    recorder.finish("interrupted")
    assert [(row["epoch"], row["val_knn_accuracy"]) for row in epochs(recorder)] == [(1, 0.6)]


def test_what_is_not_a_number_is_null(recorder):
    run(recorder, make_trial(), metrics(1, math.nan, train_loss=math.inf, stop_reason="nan"))
    recorder.finish("interrupted")
    (row,) = epochs(recorder)
    assert row["val_knn_accuracy"] is None
    assert row["train_loss"] is None
    assert trials(recorder)[0]["objective"] is None


def test_a_trial_that_restarts_has_one_row_for_each_epoch(recorder):
    trial = make_trial()
    recorder.on_trial_start(0, [trial], trial)
    report(recorder, trial, metrics(1, 0.5), metrics(2, 0.6))
    recorder.on_trial_recover(0, [trial], trial)
    assert recorder.trials["0000-fc-4d"]["status"] == "pending"
    first_start = recorder.trials["0000-fc-4d"]["started_at"]
    recorder.on_trial_start(0, [trial], trial)
    report(recorder, trial, metrics(2, 0.65), metrics(3, 0.7))
    recorder.on_trial_complete(0, [trial], trial)
    recorder.finish("interrupted")
    assert [(row["epoch"], row["val_knn_accuracy"]) for row in epochs(recorder)] == [
        (1, 0.5),
        (2, 0.65),
        (3, 0.7),
    ]
    assert trials(recorder)[0]["started_at"] == first_start


def test_trials_that_the_end_takes_are_settled(recorder):
    pending, running = make_trial(0), make_trial(1)
    recorder.on_step_end(0, [pending, running])
    recorder.on_trial_start(0, [running], running)
    report(recorder, running, metrics(1, 0.5))
    recorder.finish("interrupted")
    rows = trials(recorder)
    assert [(row["status"], row["stop_reason"], row["epochs"]) for row in rows] == [
        ("stopped_early", "interrupted", 0),
        ("stopped_early", "interrupted", 1),
    ]
    assert rows[0]["started_at"] is None


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
    recorder.finish("interrupted")
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
    assert [row["error"] for row in recorder.trials.values()] == ["RuntimeError: unknown error"]


@pytest.mark.parametrize("event", ["on_trial_error", "on_trial_recover"])
def test_tune_finds_no_pickled_error_to_load_from_the_run_directory(recorder, event):
    trial = make_trial()
    recorder.on_trial_start(0, [trial], trial)
    getattr(recorder, event)(0, [trial], trial)
    assert trial.run_metadata.pickled_error_filename is None


def test_a_trial_whose_checkpoint_cannot_be_written_goes_on_later(recorder, tmp_path, caplog, no_nodes):
    trial = make_trial()
    run_error = CheckpointUnreachable("cannot reach the checkpoints: SLOW_DOWN")
    (tmp_path / "error.pkl").write_bytes(pickle.dumps(run_error))
    trial.pickled_error_file = str(tmp_path / "error.pkl")
    trial.run_metadata.num_failures = 3
    recorder.on_trial_start(0, [trial], trial)
    fail(recorder, trial)
    assert recorder.failures.count("0000-fc-4d") == 0, "the next attempt is as good as the first"
    (row,) = recorder.trials.values()
    assert (row["status"], row["stop_reason"], row["error"]) == ("stopped_early", "interrupted", None)
    assert "cannot reach the checkpoints: SLOW_DOWN; it goes on later" in caplog.text


def test_what_keeps_a_trial_from_starting_is_remembered(recorder, monkeypatch):
    def fail(run, **logs):
        raise StorageError("cannot write s3://bucket/run/optuna.journal")

    monkeypatch.setattr(RunDirectory, "push", fail)
    trial = make_trial()
    with pytest.raises(StorageError):
        recorder.on_trial_start(0, [trial], trial)
    assert "optuna.journal" in str(recorder.failure)


def test_a_trial_that_tune_gives_up_too_early_goes_on_later_but_not_for_ever(recorder, tmp_path, no_nodes):
    told = []
    recorder.settle = lambda ray_id, outcome: told.append(outcome)
    trial = make_trial()
    trial.error_file = str(tmp_path / "error.txt")
    (tmp_path / "error.txt").write_text("ActorDiedError: The actor is dead\n")
    trial.run_metadata.num_failures = 1
    for _ in range(2):  # each in a run of Tune of its own
        fail(recorder, trial)
        recorder.finish("interrupted")
        (row,) = trials(recorder)
        assert (row["status"], row["stop_reason"], row["error"]) == ("stopped_early", "interrupted", None)
        assert told == []
        recorder.reopen(row["trial_id"], MAX_EPOCHS)
    fail(recorder, trial)
    recorder.finish("interrupted")
    (row,) = trials(recorder)
    assert (row["status"], row["stop_reason"]) == ("failed", "error")
    assert row["error"] == "it failed 3 times in a row, last: RuntimeError: ActorDiedError: The actor is dead"
    assert [outcome.status for outcome in told] == ["failed"]


def test_a_trial_that_waits_for_a_node_that_is_gone_goes_on_later(recorder, monkeypatch):
    monkeypatch.setattr(recorder.failures, "is_unschedulable", lambda trial_id: True)
    trial = make_trial()
    recorder.on_step_end(0, [trial])
    recorder.on_trial_complete(0, [trial], trial)
    (row,) = recorder.trials.values()
    assert (row["status"], row["stop_reason"]) == ("stopped_early", "interrupted")


def test_writing_the_tables_takes_a_small_share_of_the_time(recorder, clock, monkeypatch):
    writing = []

    def slow(rows, schema, path):
        writing.append(1.0)
        clock.now += 1.0

    monkeypatch.setattr(module, "write_table", slow)
    for number in range(400):  # a trial ends every half second
        trial = make_trial(number)
        report(recorder, trial, metrics(MAX_EPOCHS, 0.5))
        recorder.on_trial_complete(0, [trial], trial)
        recorder.on_step_end(0, [trial])
        clock.now += 0.5
    assert 0.03 < sum(writing) / clock.now < 0.06


def test_the_tables_are_refreshed_every_few_seconds_and_only_after_a_change(recorder, clock, monkeypatch):
    written = []
    monkeypatch.setattr(module, "write_table", lambda rows, schema, path: written.append(path.name))
    trial = make_trial()
    recorder.on_step_end(0, [trial])
    assert len(written) == 2
    report(recorder, trial, metrics(1, 0.5))
    recorder.on_step_end(1, [trial])
    assert len(written) == 2
    clock.now += WRITE_EVERY_S
    recorder.on_step_end(2, [trial])
    assert len(written) == 4
    clock.now += WRITE_EVERY_S
    recorder.on_step_end(3, [trial])
    assert len(written) == 4


def test_a_full_disk_stops_the_search_at_its_end_only(recorder, clock, monkeypatch, caplog):
    def fail(*arguments):
        raise StorageError("cannot write trials.parquet: No space left on device")

    monkeypatch.setattr(module, "write_table", fail)
    recorder.on_step_end(0, [make_trial()])
    clock.now += WRITE_EVERY_S
    recorder.on_step_end(0, [make_trial()])
    assert caplog.text.count("No space left on device") == 1, "it is said once"
    with pytest.raises(StorageError):
        recorder.finish("interrupted")


def save_best(recorder, number, epoch):
    """Put a checkpoint where Ray has those of a trial."""
    directory = recorder.run.ray_dir / "0000-fc-4d"
    config = Config.from_params(PARAMS)
    model = build_model(config.model, (1, 8, 8))
    best = directory / f"checkpoint_{number:06d}" / "best"
    save_model(best, model, config, epoch=epoch)
    return best


def kept(recorder):
    directory = recorder.run.checkpoints_dir
    return [path.relative_to(directory).as_posix() for path in sorted(directory.rglob("*"))]


def test_the_best_epochs_model_is_kept_whole(recorder, tmp_path):
    trial = make_trial()
    save_best(recorder, 2, epoch=2)
    run(recorder, trial, metrics(1, 0.5), metrics(2, 0.6), metrics(3, 0.5))
    recorder.finish("interrupted")
    assert trials(recorder)[0]["checkpoint"] == "checkpoints/0000-fc-4d"
    assert kept(recorder) == ["0000-fc-4d", "0000-fc-4d/config.json", "0000-fc-4d/model.safetensors"]
    assert load_model(recorder.run.checkpoint_dir("0000-fc-4d")).epoch == 2


def test_a_checkpoint_that_is_damaged_or_of_another_epoch_is_passed_over(recorder, tmp_path):
    trial = make_trial()
    save_best(recorder, 0, epoch=1)
    save_best(recorder, 1, epoch=2)  # the best
    save_best(recorder, 2, epoch=3)  # saved, but its report never arrived
    weights = save_best(recorder, 3, epoch=2) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    recorder.on_trial_start(0, [trial], trial)
    report(recorder, trial, metrics(1, 0.5), metrics(2, 0.6))
    recorder.finish("interrupted")
    assert load_model(recorder.run.checkpoint_dir("0000-fc-4d")).epoch == 2


def test_a_full_disk_costs_the_copy_of_a_model_and_says_so(recorder, tmp_path, monkeypatch, caplog):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    trial = make_trial()
    save_best(recorder, 0, epoch=1)
    monkeypatch.setattr(shutil, "copytree", full)
    run(recorder, trial, metrics(1, 0.5))
    assert "cannot keep the checkpoint of 0000-fc-4d: [Errno 28] No space left on device" in caplog.text
    assert kept(recorder) == []
    recorder.finish("interrupted")
    assert trials(recorder)[0]["checkpoint"] is None


def test_a_trial_without_a_checkpoint_has_none(recorder):
    run(recorder, make_trial(), metrics(1, math.nan, stop_reason="nan"))
    recorder.finish("interrupted")
    assert trials(recorder)[0]["checkpoint"] is None
    assert not recorder.run.checkpoints_dir.exists()


def test_hyperparameters_have_a_column_each_and_are_null_where_they_do_nothing(recorder):
    recorder.on_step_end(
        0, [make_trial(0, reconstruction_loss="bce"), make_trial(1, reconstruction_loss="ssim")]
    )
    recorder.finish("interrupted")
    rows = trials(recorder)
    assert [row["config_reconstruction_loss"] for row in rows] == ["bce", "ssim"]
    assert [row["config_ssim_window"] is None for row in rows] == [True, False]
    assert rows[0]["config_optimizer"] == "adam"


def test_empty_tables_have_their_columns(recorder):
    recorder.finish("interrupted")
    assert read_table(recorder.run.trials_file).schema.equals(TRIALS)
    assert read_table(recorder.run.epochs_file).schema.equals(EPOCHS)
    assert isinstance(TRIALS, pa.Schema)


def test_the_best_so_far_is_the_best_of_all_trials(recorder):
    assert recorder.best() is None
    run(recorder, make_trial(0), metrics(1, 0.5))
    run(recorder, make_trial(1), metrics(1, 0.9))
    run(recorder, make_trial(2), metrics(1, math.nan, stop_reason="nan"))
    assert recorder.best()["number"] == 1


def test_what_an_earlier_driver_wrote_is_taken_up(recorder, tmp_path):
    run(recorder, make_trial(0), metrics(1, 0.5), metrics(2, 0.6), metrics(3, 0.7))
    left = make_trial(1)
    recorder.on_trial_start(0, [left], left)
    report(recorder, left, metrics(1, 0.4))
    recorder.finish("interrupted")
    first = trials(recorder)

    again = Recorder(recorder.run, [KNN], max_epochs=9)
    again.load()
    again.reopen("0001-fc-4d", 9)
    run(again, make_trial(1), metrics(2, 0.8), metrics(9, 0.1))
    again.finish("interrupted")
    done, continued = trials(again)
    assert done == first[0]
    assert (continued["status"], continued["stop_reason"], continued["objective"]) == ("completed", None, 0.8)
    assert continued["started_at"] == first[1]["started_at"]
    assert continued["config_max_epochs"] == 9
    assert [(r["trial_id"], r["epoch"]) for r in epochs(again) if r["trial_id"] == "0001-fc-4d"] == [
        ("0001-fc-4d", 1),
        ("0001-fc-4d", 2),
        ("0001-fc-4d", 9),
    ]


def test_a_driver_that_died_between_the_two_tables_leaves_rows_that_agree(recorder):
    trial = make_trial(0)
    recorder.on_trial_start(0, [trial], trial)
    report(recorder, trial, metrics(1, 0.5))
    recorder.write()
    trials_before = recorder.run.trials_file.read_bytes()
    report(recorder, trial, metrics(2, 0.8))
    recorder.write()
    recorder.run.trials_file.write_bytes(trials_before)

    again = Recorder(recorder.run, [KNN], max_epochs=MAX_EPOCHS)
    again.load()
    (row,) = again.trials.values()
    assert (row["epochs"], row["objective"], row["best_epoch"]) == (2, 0.8, 2)


def test_the_pareto_front_is_that_of_trials_with_the_full_budget(tmp_path):
    recorder = Recorder(
        RunDirectory(tmp_path / "run"), [KNN, Objective("val_mse", "min")], max_epochs=MAX_EPOCHS
    )
    values = [(3, 0.9, 0.3), (3, 0.8, 0.1), (3, 0.8, 0.2), (1, 0.99, 0.01)]
    for number, (epoch, knn, mse) in enumerate(values):
        run(recorder, make_trial(number), metrics(epoch, knn, val_mse=mse))
    recorder.finish("interrupted")
    assert [row["pareto"] for row in trials(recorder)] == [True, True, False, None]


def test_a_stopped_trial_has_its_rung_and_cutoff(recorder):
    recorder.cutoff_of = {"0000-fc-4d": (1, 0.7)}.get
    run(recorder, make_trial(), metrics(1, 0.5))
    recorder.finish("interrupted")
    (row,) = trials(recorder)
    assert (row["stop_reason"], row["rung"], row["cutoff"]) == ("rung", 1, 0.7)
