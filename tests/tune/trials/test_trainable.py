"""One trial, run in this process with Tune's `report` and `get_checkpoint` replaced."""

import math
import shutil
from dataclasses import replace

import pytest
import torch
from ray.tune import Checkpoint

from tests.tune.conftest import KNN
from tests.tune.conftest import TRAINED_PARAMS as PARAMS
from tune.algorithms.budget import Budget
from tune.algorithms.objective import Objective
from tune.trials import trainable
from tune.trials.checkpoints import read_history
from tune.trials.data import TrialData
from tune.trials.trainable import CollapseRule, train_trial
from vae.checkpoint import load_model
from vae.data import load_dataset

CLOCKED = ("epoch_seconds", "validation_seconds", "images_per_second", "checkpoint_bytes")


@pytest.fixture(scope="module")
def data():
    return TrialData.from_dataset(load_dataset("digits"), seed=0)


class Killed(BaseException):
    """What a worker's death looks like from inside."""


class FakeTune:
    """Keeps what a trial reports, a copy of each checkpoint, and can kill the trial."""

    def __init__(self, directory):
        self.directory = directory
        self.results = []
        self.checkpoint = None
        self.kill_after = None

    def report(self, metrics, checkpoint=None):
        self.results.append(metrics)
        if checkpoint is not None:
            target = self.directory / f"checkpoint_{len(self.results)}"
            shutil.copytree(checkpoint.path, target)
            self.checkpoint = Checkpoint.from_directory(target)
        if self.kill_after == metrics.get("epoch", 0):
            self.kill_after = None
            raise Killed


@pytest.fixture
def tune(tmp_path, monkeypatch):
    fake = FakeTune(tmp_path)
    monkeypatch.setattr(trainable, "report_to_tune", fake.report)
    monkeypatch.setattr(trainable, "get_checkpoint", lambda: fake.checkpoint)
    monkeypatch.setattr(trainable.ray, "get_gpu_ids", list)
    return fake


def budget_on(data, max_epochs):
    """Return a budget that is judged after two epochs: every report is at the end of one."""
    n = len(data.train_images)
    return Budget(images=max_epochs * n, n_train=n, grace_period=2 * n, reduction_factor=3, has_rungs=False)


def run(data, objective=KNN, resume_from=None, min_active_units=0, **params):
    max_epochs = (PARAMS | params)["max_epochs"]
    train_trial(
        {"params": PARAMS | params, "resume_from": resume_from},
        data=data,
        objective=objective,
        n_threads=1,
        collapse=CollapseRule(min_active_units, after=2 * len(data.train_images)),
        budget=budget_on(data, max_epochs),
    )


def measured(results):
    """Return the results without what depends on the clock; a checkpoint holds such figures as text."""
    return [{k: v for k, v in r.items() if k not in CLOCKED} for r in results]


def test_every_epoch_is_reported_with_the_neutral_panel(data, tune):
    run(data)
    assert [result["epoch"] for result in tune.results] == [1, 2, 3, 4]
    for result in tune.results:
        assert result["stop_reason"] is None
        assert 0.1 < result["val_knn_accuracy"] <= 1.0
        assert {"val_ssim", "val_mse", "val_psnr", "val_kl", "active_units", "n_parameters"} <= result.keys()
        assert 0 < result["val_neighbour_recall"] <= 1 < result["val_rankme"] <= 4 == result["latent_dim"]


@pytest.mark.parametrize("name", ["val_neighbour_recall", "val_rankme"])
def test_images_without_labels_are_searched_by_a_score_that_needs_none(data, tune, name):
    unlabelled = replace(data, train_labels=None, validation_labels=None)
    run(unlabelled, Objective(name, "max"))
    assert "val_knn_accuracy" not in tune.results[0]
    assert [math.isfinite(result[name]) for result in tune.results] == [True] * 4


def test_a_hook_is_called_before_each_report(data, tune):
    reported = []
    hook = {"on_report": lambda end: reported.append((end.epoch, len(tune.results)))}
    train_trial(
        {"params": PARAMS},
        data=data,
        objective=KNN,
        n_threads=1,
        collapse=CollapseRule(0, after=2),
        budget=budget_on(data, 4),
        **hook,
    )
    assert reported == [(1, 0), (2, 1), (3, 2), (4, 3)]


def test_the_checkpoint_holds_the_best_epochs_model(data, tune):
    run(data)
    best = max(tune.results, key=lambda result: result["val_knn_accuracy"])
    loaded = load_model(tune.directory / "checkpoint_4" / "best")
    assert loaded.epoch == best["epoch"]
    assert loaded.metrics["val_knn_accuracy"] == best["val_knn_accuracy"]
    assert loaded.dataset == data.fingerprint is not None


@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_killed_trial_continues_as_if_nothing_had_happened(data, tune, killed_after):
    run(data)
    undisturbed, tune.results, tune.checkpoint = measured(tune.results), [], None
    for directory in tune.directory.glob("checkpoint_*"):
        shutil.rmtree(directory)
    tune.kill_after = killed_after
    with pytest.raises(Killed):
        run(data)
    run(data)
    assert measured(tune.results) == undisturbed
    best = max(undisturbed, key=lambda result: result["val_knn_accuracy"])
    assert load_model(tune.directory / "checkpoint_4" / "best").epoch == best["epoch"]


def test_a_diverged_trial_reports_once_and_keeps_its_last_good_checkpoint(data, tune):
    run(data, optimizer="sgd", learning_rate=1e12)
    last = tune.results[-1]
    assert last["stop_reason"] == "nan"
    assert [result["stop_reason"] for result in tune.results[:-1]] == [None] * (len(tune.results) - 1)
    assert KNN.name in last
    assert (tune.checkpoint is None) == (len(tune.results) == 1)


def test_a_trial_of_another_driver_continues_from_its_checkpoint(data, tune):
    run(data)
    undisturbed, tune.results, tune.checkpoint = measured(tune.results), [], None
    copy = shutil.copytree(tune.directory / "checkpoint_2", tune.directory / "copy")
    for directory in tune.directory.glob("checkpoint_*"):
        shutil.rmtree(directory)
    run(data, resume_from=str(copy))
    assert measured(tune.results) == undisturbed[2:]
    assert [row["epoch"] for row in read_history(tune.directory / "checkpoint_2")] == [1, 2, 3, 4]


def test_a_collapsed_posterior_ends_the_trial_after_its_grace_period(data, tune):
    run(data, kl_weight=1000.0, min_active_units=1, batch_size=8)
    assert [(result["epoch"], result["stop_reason"]) for result in tune.results] == [
        (1, None),
        (2, "collapsed"),
    ]


def test_a_model_that_has_hardly_begun_has_not_collapsed(data, tune):
    run(data, kl_weight=1000.0, min_active_units=1)  # 40 steps in all
    assert [result["stop_reason"] for result in tune.results] == [None] * 4


def test_a_posterior_that_lives_is_not_ended(data, tune):
    run(data, kl_weight=0.001, min_active_units=4, batch_size=8)
    assert [result["stop_reason"] for result in tune.results] == [None] * 4


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_is_a_reason_and_not_an_error(data, tune, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(trainable, "train", fail)
    run(data)
    (result,) = tune.results
    assert (result["stop_reason"], result["images"]) == ("oom", 0)
    assert KNN.name in result


def test_what_an_earlier_trial_left_behind_changes_nothing(data, tune):
    run(data)
    first, tune.results, tune.checkpoint = measured(tune.results), [], None
    for directory in tune.directory.glob("checkpoint_*"):
        shutil.rmtree(directory)
    torch.manual_seed(999)
    torch.rand(100)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    run(data)
    torch.set_num_threads(threads)
    assert measured(tune.results) == first


def test_without_labels_another_objective_leads(data, tune):
    import dataclasses

    unlabelled = dataclasses.replace(data, train_labels=None, validation_labels=None)
    run(unlabelled, objective=Objective("val_mse", "min"), max_epochs=2)
    assert all("val_knn_accuracy" not in result for result in tune.results)
    best = min(tune.results, key=lambda result: result["val_mse"])
    assert load_model(tune.directory / "checkpoint_2" / "best").epoch == best["epoch"]


@pytest.mark.parametrize(
    ("given", "usable", "device"), [([], True, "cpu"), (["0"], True, "cuda"), (["0"], False, "cpu")]
)
def test_a_trial_trains_on_the_gpu_that_it_was_given_if_torch_can_use_it(
    monkeypatch, caplog, given, usable, device
):
    monkeypatch.setattr(trainable.ray, "get_gpu_ids", lambda: given)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    assert trainable.trial_device() == torch.device(device)
    assert ("torch can use none" in caplog.text) == (bool(given) and not usable)
