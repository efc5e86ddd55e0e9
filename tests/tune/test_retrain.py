"""Finalists of a small study of digits, trained anew on the session's cluster."""

import os
import signal
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import tune.retrain
from tests.tune.conftest import KNN
from tune.algorithms.budget import Budget
from tune.algorithms.searcher import trial_seed
from tune.cluster.resources import TrialResources
from tune.retrain import fresh_seeds, retrain_finalists
from tune.storage.tables import FINALIST_SEEDS, TRIALS, read_table, write_table
from tune.study.state import weights_hash
from tune.trials.data import TrialData
from vae.atomic import write_directory
from vae.checkpoint import load_model, read_config, write_config
from vae.config import Config
from vae.data import load_dataset
from vae.errors import UsageError

BEST, SECOND = "0001-conv-10d", "0000-fc-4d"


@pytest.fixture(scope="module")
def data():
    return TrialData.from_dataset(load_dataset("digits"), seed=0)


def budget_on(data, max_epochs):
    n = len(data.train_images)
    return Budget(images=max_epochs * n, n_train=n, grace_period=n, reduction_factor=3)


def session(run, data, *, max_epochs=2, slots=2):
    """What `retrain_finalists` needs of a study at work."""
    return SimpleNamespace(
        run=run,
        record=run.read_study(),
        data=data,
        objectives=(KNN,),
        plan=SimpleNamespace(seed=0),
        budget=budget_on(data, max_epochs),
        resources=lambda n_runs: TrialResources(1.0, 0.0, slots),
    )


def retrain(run, data, trial_ids=(BEST, SECOND), *, n_seeds=1, console=None, **more):
    retrain_finalists(session(run, data, **more), trial_ids, n_seeds=n_seeds, console=console)
    return read_table(run.finalist_seeds_file).to_pylist()


def test_what_does_not_end_in_time_is_given_up_and_trained_by_the_next_call(study, data, ray_cluster):
    at_work, asked = session(study, data, slots=1), {"n_seeds": 1, "console": None}
    assert retrain_finalists(at_work, [BEST, SECOND], **asked, seconds=-1.0) == 2
    assert retrain_finalists(at_work, [BEST, SECOND], **asked, seconds=0.01) == 2
    assert not study.finalist_seeds_file.exists()
    assert retrain_finalists(at_work, [BEST, SECOND], **asked, seconds=300.0) == 0
    assert len(read_table(study.finalist_seeds_file)) == 2


def change_params(run, trial_id, **params):
    saved = read_config(run.checkpoint_dir(trial_id))
    write_config(
        run.checkpoint_dir(trial_id), Config.from_params(saved.config.to_params() | params), saved.image_shape
    )


@pytest.mark.parametrize("study_seed", [0, 7])
def test_fresh_seeds_differ_from_each_other_from_the_trials_own_and_between_trials(study_seed):
    seeds = [
        seed
        for number in range(20)
        for seed in fresh_seeds(study_seed, number, 5, own=trial_seed(study_seed, number))
    ]
    own = [trial_seed(study_seed, number) for number in range(20)]
    assert len({*seeds, *own}) == 20 * 5 + 20


def test_fewer_seeds_are_the_beginning_of_more_and_the_own_one_is_passed_over():
    three = fresh_seeds(3, 4, 3, own=-1)
    assert fresh_seeds(3, 4, 2, own=-1) == three[:2]
    assert fresh_seeds(3, 4, 2, own=three[0]) == three[1:]


def test_fresh_seeds_of_a_continued_finalist_train_its_whole_schedule(study, data):
    rows = read_table(study.trials_file).to_pylist()
    continued = {"config_max_epochs": 24, "config_schedule_epochs": [8, 24]}
    write_table([row | continued for row in rows], TRIALS, study.trials_file)
    change_params(study, BEST, max_epochs=8, schedule_epochs=[8])  # its best epoch was before
    (job,) = tune.retrain._missing(session(study, data, max_epochs=24), {}, [BEST], 1)
    assert (job.params["max_epochs"], job.params["schedule_epochs"]) == (24, [8, 24])


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
class TestOnRay:
    def test_each_finalist_is_trained_with_each_seed_and_its_best_model_kept(self, study, data):
        rows = retrain(study, data, n_seeds=2)
        assert read_table(study.finalist_seeds_file).schema.equals(FINALIST_SEEDS)
        assert {(row["trial_id"], row["seed"]) for row in rows} == {
            (trial_id, seed)
            for trial_id, number in ((BEST, 1), (SECOND, 0))
            for seed in fresh_seeds(0, number, 2, own=0)
        }
        for row in rows:
            assert (row["study"], row["status"], row["max_epochs"]) == ("tiny", "completed", 2)
            assert row["objective"] == row["val_knn_accuracy"] > 0.5
            assert row["train_seconds"] > 0
            assert row["checkpoint"] == f"finalist_seeds/{row['trial_id']}/{row['seed']}"
            assert row["trial_weights"] == weights_hash(study.checkpoint_dir(row["trial_id"]))
            loaded = load_model(study.path / row["checkpoint"])
            assert loaded.config.training.seed == row["seed"]
            assert loaded.config.training.max_epochs == 2
            assert (loaded.epoch, loaded.metrics["val_knn_accuracy"]) == (row["best_epoch"], row["objective"])
        assert len({row["objective"] for row in rows if row["trial_id"] == BEST}) == 2
        assert not list(study.checkpoints_dir.rglob(".*"))

    def test_a_second_call_trains_only_what_is_missing(self, study, data):
        first = retrain(study, data, [BEST])
        kept = [study.path / row["checkpoint"] / "model.safetensors" for row in first]
        written = [path.stat().st_mtime_ns for path in kept]
        more = retrain(study, data, [BEST, SECOND], n_seeds=2)
        assert len(more) == 4
        assert [path.stat().st_mtime_ns for path in kept] == written
        before = study.finalist_seeds_file.read_bytes()
        retrain(study, data, [BEST, SECOND], n_seeds=2)
        assert study.finalist_seeds_file.read_bytes() == before

    def test_a_lost_checkpoint_and_another_budget_are_trained_again(self, study, data):
        (row,) = retrain(study, data, [SECOND])
        (study.path / row["checkpoint"] / "model.safetensors").write_bytes(b"")  # as a power cut leaves it
        (again,) = retrain(study, data, [SECOND])
        assert load_model(study.path / again["checkpoint"]).dataset == data.fingerprint
        assert again["objective"] == row["objective"]
        (longer,) = retrain(study, data, [SECOND], max_epochs=3)
        assert longer["max_epochs"] == 3

    def test_an_interruption_keeps_what_was_finished(self, study, data, monkeypatch):
        class Interrupting(tune.retrain._Progress):
            def show(self, row, objective):
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(tune.retrain, "_Progress", Interrupting)
            with pytest.raises(KeyboardInterrupt):
                retrain(study, data, n_seeds=2, slots=1)
        (finished,) = read_table(study.finalist_seeds_file).to_pylist()
        rows = retrain(study, data, n_seeds=2)
        assert len(rows) == 4
        assert finished in rows

    def test_a_diverged_seed_is_a_failed_row(self, study, data):
        change_params(study, SECOND, optimizer="sgd", learning_rate=1e12)
        rows = retrain(study, data)
        failed, completed = sorted(rows, key=lambda row: row["trial_id"])
        assert (failed["status"], failed["stop_reason"]) == ("failed", "nan")
        assert failed["objective"] is None
        assert failed["checkpoint"] is None
        assert completed["status"] == "completed"

    def test_out_of_memory_is_a_failed_row(self, study, data):
        (row,) = retrain(study, subclassed(data, OutOfMemory), [SECOND])
        assert (row["status"], row["stop_reason"]) == ("failed", "oom")

    def test_an_error_is_a_failed_row_that_the_next_call_tries_again(self, study, data):
        (row,) = retrain(study, subclassed(data, Broken), [SECOND])
        assert (row["status"], row["stop_reason"]) == ("failed", "error")
        assert row["error"] == "RuntimeError: no such luck"
        (row,) = retrain(study, data, [SECOND])
        assert (row["status"], row["error"]) == ("completed", None)

    def test_a_killed_worker_is_replaced(self, study, data, tmp_path):
        killed = tmp_path / "killed"
        (row,) = retrain(study, subclassed(data, KilledOnce, marker=killed), [SECOND])
        assert killed.exists()
        assert row["status"] == "completed"

    def test_progress_is_a_line_for_each_training_where_there_is_no_terminal(self, study, data):
        console = Console(record=True, force_terminal=False, width=100)
        (row,) = retrain(study, data, [SECOND], console=console)
        assert console.export_text().splitlines() == [
            "finalists with fresh seeds: 1 training",
            f"1/1 {SECOND} seed {row['seed']}: val_knn_accuracy {row['objective']:.4f} "
            f"at epoch {row['best_epoch']:.3g}",
        ]


def test_no_seeds_are_no_work_and_no_file(study, data):
    write_table([], FINALIST_SEEDS, study.finalist_seeds_file)
    assert retrain(study, data, n_seeds=0) == []


def test_a_negative_number_of_seeds_is_refused(study, data):
    with pytest.raises(UsageError, match="fresh seeds must be >= 0, got -1"):
        retrain(study, data, n_seeds=-1)


def subclassed(data, kind, **more):
    return kind(**{field.name: getattr(data, field.name) for field in fields(TrialData)}, **more)


class OutOfMemory(TrialData):
    """Images that do not fit."""

    def train(self, device):
        raise MemoryError


class Broken(TrialData):
    """Images that cannot be had."""

    def train(self, device):
        raise RuntimeError("no such luck")


@dataclass(frozen=True, kw_only=True)
class KilledOnce(TrialData):
    """Images whose first reader is killed."""

    marker: Path

    def validation(self, device):
        if not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return TrialData.validation(self, device)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "oom"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "oom"),
        (RuntimeError("no such luck"), None),
    ],
)
def test_out_of_memory_of_any_kind_is_known_as_in_a_trial(data, monkeypatch, error, reason):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(tune.retrain.ray, "get_gpu_ids", list)
    monkeypatch.setattr(tune.retrain, "train", fail)
    params = {"architecture": "fc", "width": 0.25, "max_epochs": 3, "seed": 1}
    if reason is None:
        with pytest.raises(RuntimeError, match="no such luck"):
            tune.retrain._train(params, data, KNN, n_threads=1, budget=budget_on(data, 3))
        return
    trained = tune.retrain._train(params, data, KNN, n_threads=1, budget=budget_on(data, 3))
    assert trained.columns == {"status": "failed", "stop_reason": reason}


class Ranked(TrialData):
    """Images on which the second of three epochs is the best."""

    def knn(self, device):
        values = iter([0.5, 0.9, 0.7])
        return lambda model, **options: next(values)


def test_a_row_holds_the_neutral_panel_of_the_best_epoch_not_of_the_last(data, tmp_path, monkeypatch):
    monkeypatch.setattr(tune.retrain.ray, "get_gpu_ids", list)
    params = {"architecture": "fc", "width": 0.25, "max_epochs": 3, "seed": 1}
    trained = tune.retrain._train(
        params, subclassed(data, Ranked), KNN, n_threads=1, budget=budget_on(data, 3)
    )
    columns = trained.columns
    assert (columns["objective"], columns["best_epoch"]) == (0.9, 2)
    assert np.isfinite(columns["val_ssim"])
    write_directory(trained.files, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert (loaded.epoch, loaded.metrics["val_ssim"]) == (2, columns["val_ssim"])
