"""The rows of a study, the files that they become, and the checkpoints that are kept."""

import errno
import math
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tune.conftest import KNN, PARAMS, budget_of, epoch_result
from tune.algorithms.objective import Objective
from tune.algorithms.outcome import Outcome
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import EPOCHS, TRIALS, read_table
from tune.study import study_tables
from tune.study.study_tables import StudyTables
from vae.checkpoint import load_model, save_model
from vae.config import Config
from vae.errors import StorageError
from vae.models import build_model

MAX_EPOCHS = 3
FIRST = "0000-fc-4d"


@pytest.fixture
def tables(tmp_path):
    return StudyTables(RunDirectory(tmp_path / "run"), [KNN], budget=budget_of(MAX_EPOCHS))


def start(tables, number=0, **params):
    """Begin a trial; returns its id."""
    trial_id = f"{number:04d}-fc-4d"
    tables.open(trial_id, number, {**PARAMS, **params})
    tables.start(trial_id)
    return trial_id


def run(tables, number, *results):
    """Carry a trial through its epochs to its end."""
    trial_id = start(tables, number)
    for result in results:
        tables.record_report(trial_id, result)
    tables.end(trial_id, Outcome.from_result(results[-1], tables.budget.images))


def trials(tables):
    return read_table(tables.run.trials_file).to_pylist()


def epochs(tables):
    return read_table(tables.run.epochs_file).to_pylist()


def test_a_completed_trial_has_the_panel_of_its_best_epoch(tables):
    run(tables, 0, epoch_result(1, 0.5), epoch_result(2, 0.8), epoch_result(3, 0.7))
    tables.finish("interrupted")
    (row,) = trials(tables)
    assert (row["status"], row["stop_reason"]) == ("completed", None)
    assert (row["objective"], row["best_epoch"], row["epochs"]) == (0.8, 2, 3)
    assert (row["val_knn_accuracy"], row["val_ssim"]) == (0.8, 0.4)
    assert (row["study"], row["n_parameters"], row["seed"]) == ("run", 7, 5)
    assert row["train_seconds"] == 3.0
    assert row["started_at"] <= row["finished_at"]


@pytest.mark.parametrize(
    ("last", "status", "reason"),
    [
        (epoch_result(3, 0.5), "completed", None),
        (epoch_result(2, 0.5), "stopped_early", "rung"),
        (epoch_result(2, math.nan, stop_reason="nan", train_loss=math.nan), "failed", "nan"),
        ({"images": 1, "stop_reason": "oom", "val_knn_accuracy": math.nan}, "failed", "oom"),
    ],
)
def test_the_status_says_how_a_trial_ended(tables, last, status, reason):
    run(tables, 0, epoch_result(1, 0.6), last)
    tables.finish("interrupted")
    (row,) = trials(tables)
    assert (row["status"], row["stop_reason"]) == (status, reason)
    assert row["objective"] == 0.6


def test_a_report_without_an_epoch_adds_no_row(tables):
    run(tables, 0, epoch_result(1, 0.6), {"images": 1, "stop_reason": "oom", "val_knn_accuracy": math.nan})
    tables.finish("interrupted")
    assert [(row["epoch"], row["val_knn_accuracy"]) for row in epochs(tables)] == [(1, 0.6)]


def test_what_is_not_a_number_is_null(tables):
    run(tables, 0, epoch_result(1, math.nan, train_loss=math.inf, stop_reason="nan"))
    tables.finish("interrupted")
    (row,) = epochs(tables)
    assert row["val_knn_accuracy"] is None
    assert row["train_loss"] is None
    assert trials(tables)[0]["objective"] is None


def test_a_trial_that_restarts_has_one_row_for_each_epoch(tables):
    start(tables)
    for result in (epoch_result(1, 0.5), epoch_result(2, 0.6)):
        tables.record_report(FIRST, result)
    tables.update(FIRST, status="pending")
    first_start = tables.trials[FIRST]["started_at"]
    run(tables, 0, epoch_result(2, 0.65), epoch_result(3, 0.7))
    tables.finish("interrupted")
    rows = [(row["epoch"], row["val_knn_accuracy"]) for row in epochs(tables)]
    assert rows == [(1, 0.5), (2, 0.65), (3, 0.7)]
    assert trials(tables)[0]["started_at"] == first_start


def test_trials_that_have_not_ended_are_interrupted_at_the_end(tables):
    tables.open(FIRST, 0, PARAMS)
    tables.record_report(start(tables, 1), epoch_result(1, 0.5))
    tables.finish("time_budget")
    rows = trials(tables)
    assert [(row["status"], row["stop_reason"], row["epochs"]) for row in rows] == [
        ("stopped_early", "time_budget", 0),
        ("stopped_early", "time_budget", 1),
    ]
    assert rows[0]["started_at"] is None


def test_a_change_is_known_until_it_is_written(tables):
    assert not tables.changed
    start(tables)
    assert tables.changed
    tables.write()
    assert not tables.changed
    tables.record_report(FIRST, epoch_result(1, 0.5))
    assert tables.changed


def test_a_full_disk_fails_the_end_and_leaves_the_change_to_be_written(tables, monkeypatch):
    def fail(*arguments):
        raise StorageError("cannot write trials.parquet: No space left on device")

    start(tables)
    monkeypatch.setattr(study_tables, "write_table", fail)
    with pytest.raises(StorageError):
        tables.finish("interrupted")
    assert tables.changed


def save_best(tables, number, epoch):
    """Put a checkpoint where Ray has those of a trial."""
    config = Config.from_params(PARAMS)
    model = build_model(config.model, (1, 8, 8))
    best = tables.run.ray_dir / FIRST / f"checkpoint_{number:06d}" / "best"
    save_model(best, model, config, epoch=epoch)
    return best


def kept(tables):
    directory = tables.run.checkpoints_dir
    return [path.relative_to(directory).as_posix() for path in sorted(directory.rglob("*"))]


def test_the_best_epochs_model_is_kept_whole(tables):
    save_best(tables, 2, epoch=2)
    run(tables, 0, epoch_result(1, 0.5), epoch_result(2, 0.6), epoch_result(3, 0.5))
    tables.finish("interrupted")
    assert trials(tables)[0]["checkpoint"] == f"checkpoints/{FIRST}"
    assert kept(tables) == [FIRST, f"{FIRST}/config.json", f"{FIRST}/model.safetensors"]
    assert load_model(tables.run.checkpoint_dir(FIRST)).epoch == 2


def test_a_checkpoint_that_is_damaged_or_of_another_epoch_is_passed_over(tables):
    save_best(tables, 0, epoch=1)
    save_best(tables, 1, epoch=2)  # the best
    save_best(tables, 2, epoch=3)  # saved, but its report never arrived
    weights = save_best(tables, 3, epoch=2) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    start(tables)
    for result in (epoch_result(1, 0.5), epoch_result(2, 0.6)):
        tables.record_report(FIRST, result)
    tables.finish("interrupted")
    assert load_model(tables.run.checkpoint_dir(FIRST)).epoch == 2


def test_a_full_disk_costs_the_copy_of_a_model_and_says_so(tables, monkeypatch, caplog):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    save_best(tables, 0, epoch=1)
    monkeypatch.setattr(shutil, "copytree", full)
    run(tables, 0, epoch_result(1, 0.5))
    assert f"cannot keep the checkpoint of {FIRST}: cannot write " in caplog.text
    assert "No space left on device" in caplog.text
    assert kept(tables) == []
    tables.finish("interrupted")
    assert trials(tables)[0]["checkpoint"] is None


def test_a_trial_without_a_checkpoint_has_none(tables):
    run(tables, 0, epoch_result(1, math.nan, stop_reason="nan"))
    tables.finish("interrupted")
    assert trials(tables)[0]["checkpoint"] is None
    assert not tables.run.checkpoints_dir.exists()


def test_hyperparameters_have_a_column_each_and_are_null_where_they_do_nothing(tables):
    start(tables, 0, reconstruction_loss="bce")
    start(tables, 1, reconstruction_loss="ssim")
    tables.finish("interrupted")
    rows = trials(tables)
    assert [row["config_reconstruction_loss"] for row in rows] == ["bce", "ssim"]
    assert [row["config_ssim_window"] is None for row in rows] == [True, False]
    assert rows[0]["config_optimizer"] == "adam"


def test_empty_tables_have_their_columns(tables):
    tables.finish("interrupted")
    assert read_table(tables.run.trials_file).schema.equals(TRIALS)
    assert read_table(tables.run.epochs_file).schema.equals(EPOCHS)
    assert isinstance(TRIALS, pa.Schema)


def test_the_best_so_far_is_the_best_of_all_trials(tables):
    assert tables.best() is None
    run(tables, 0, epoch_result(1, 0.5))
    run(tables, 1, epoch_result(1, 0.9))
    run(tables, 2, epoch_result(1, math.nan, stop_reason="nan"))
    assert tables.best()["number"] == 1


def test_what_an_earlier_driver_wrote_is_loaded_and_continued(tables):
    run(tables, 0, epoch_result(1, 0.5), epoch_result(2, 0.6), epoch_result(3, 0.7))
    tables.record_report(start(tables, 1), epoch_result(1, 0.4))
    tables.finish("interrupted")
    first = trials(tables)

    again = StudyTables(tables.run, [KNN], budget=budget_of(9))
    again.load()
    again.reopen("0001-fc-4d", PARAMS | {"max_epochs": 9, "schedule_epochs": [3, 9]})
    run(again, 1, epoch_result(2, 0.8), epoch_result(9, 0.1))
    again.finish("interrupted")
    done, continued = trials(again)
    assert done == first[0]
    assert (continued["status"], continued["stop_reason"], continued["objective"]) == ("completed", None, 0.8)
    assert continued["started_at"] == first[1]["started_at"]
    assert (continued["config_max_epochs"], continued["config_schedule_epochs"]) == (9, [3, 9])
    assert [row["epoch"] for row in epochs(again) if row["trial_id"] == "0001-fc-4d"] == [1, 2, 9]


def test_a_driver_that_died_between_the_two_tables_leaves_rows_that_agree(tables):
    tables.record_report(start(tables), epoch_result(1, 0.5))
    tables.write()
    trials_before = tables.run.trials_file.read_bytes()
    tables.record_report(FIRST, epoch_result(2, 0.8))
    tables.write()
    tables.run.trials_file.write_bytes(trials_before)

    again = StudyTables(tables.run, [KNN], budget=budget_of(MAX_EPOCHS))
    again.load()
    (row,) = again.trials.values()
    assert (row["epochs"], row["objective"], row["best_epoch"]) == (2, 0.8, 2)


def test_a_driver_that_died_before_a_trial_had_its_row_leaves_reports_that_count(tables):
    tables.write()
    trials_before = tables.run.trials_file.read_bytes()
    tables.record_report(start(tables), epoch_result(1, 0.5))
    tables.write()
    tables.run.trials_file.write_bytes(trials_before)

    again = StudyTables(tables.run, [KNN], budget=budget_of(MAX_EPOCHS))
    again.load()
    row = again.open(FIRST, 0, PARAMS)
    assert (row["epochs"], row["objective"], row["best_epoch"]) == (1, 0.5, 1)


def test_the_pareto_front_is_that_of_trials_with_the_full_budget(tmp_path):
    objectives = [KNN, Objective("val_mse", "min")]
    tables = StudyTables(RunDirectory(tmp_path / "run"), objectives, budget=budget_of(MAX_EPOCHS))
    values = [(3, 0.9, 0.3), (3, 0.8, 0.1), (3, 0.8, 0.2), (1, 0.99, 0.01)]
    for number, (epoch, knn, mse) in enumerate(values):
        run(tables, number, epoch_result(epoch, knn, val_mse=mse))
    tables.finish("interrupted")
    assert [row["pareto"] for row in trials(tables)] == [True, True, False, None]


@pytest.mark.parametrize("first", [KNN, Objective("val_loss", "min")])
def test_the_pareto_front_knows_objectives_that_are_no_columns_of_the_trials(tmp_path, first):
    second = Objective("val_loss", "min") if first is KNN else KNN
    tables = StudyTables(RunDirectory(tmp_path / "run"), [first, second], budget=budget_of(MAX_EPOCHS))
    for number, (knn, loss) in enumerate([(0.9, 30.0), (0.8, 10.0), (0.8, 20.0)]):
        best, last = epoch_result(2, knn, val_loss=loss), epoch_result(3, knn - 0.5, val_loss=loss + 50)
        run(tables, number, best, last)
    tables.finish("interrupted")
    assert [row["pareto"] for row in trials(tables)] == [True, True, False]


@pytest.mark.parametrize(
    ("second", "front"), [("latent_dim", [True, True, False]), ("n_parameters", [True, False, True])]
)
def test_the_pareto_front_knows_sizes_which_no_epoch_has(tmp_path, second, front):
    objectives = [KNN, Objective(second, "min")]
    tables = StudyTables(RunDirectory(tmp_path / "run"), objectives, budget=budget_of(MAX_EPOCHS))
    for number, (knn, dim, size) in enumerate([(0.9, 8, 900), (0.8, 4, 990), (0.8, 8, 100)]):
        trial_id = start(tables, number, latent_dim=dim)
        tables.record_report(trial_id, epoch_result(3, knn, n_parameters=size))
        tables.end(trial_id, Outcome("completed"))
    tables.finish("interrupted")
    assert [row["pareto"] for row in trials(tables)] == front


def test_rows_of_an_older_version_have_the_schedule_that_they_were_trained_with(tables):
    run(tables, 0, epoch_result(3, 0.5))
    tables.finish("interrupted")
    file = tables.run.trials_file
    pq.write_table(read_table(file).drop_columns("config_schedule_epochs"), file)
    again = StudyTables(tables.run, [KNN], budget=budget_of(9))
    again.load()
    assert again.trials[FIRST]["config_schedule_epochs"] == [3]


def test_only_a_trial_stopped_at_a_rung_has_rung_and_cutoff(tables):
    for number, outcome in enumerate([Outcome("stopped_early", "rung"), Outcome("completed")]):
        tables.end(start(tables, number), outcome, (1, 0.7))
    rows = tables.trials.values()
    assert [(row["rung"], row["cutoff"]) for row in rows] == [(1, 0.7), (None, None)]
