"""A trial of a study under a URI: what its worker writes there, and what a driver elsewhere makes of it."""

import contextlib

import pytest
import torch

from tests.s3_server import ACCESS_DENIED, INTERNAL_ERROR
from tests.tune.conftest import KNN, SmallPlan, open_journal
from tests.tune.conftest import TRAINED_PARAMS as PARAMS
from tune.algorithms import journal
from tune.algorithms.budget import Budget
from tune.algorithms.outcome import Outcome
from tune.algorithms.scheduler import EarlyStopping
from tune.algorithms.searcher import OptunaSearcher
from tune.algorithms.stopping_rules import Asha
from tune.restore import restore_trials
from tune.storage.filesystems import connect
from tune.storage.run_directory import RunDirectory
from tune.storage.trial_status import TrialStatus
from tune.study.study_tables import StudyTables
from tune.trials import trainable
from tune.trials.checkpoints import CheckpointUnreachable, keep_best, new_session_dir, newest_checkpoint
from tune.trials.data import TrialData
from tune.trials.remote_checkpoints import RemoteCheckpoints
from tune.trials.trainable import CollapseRule, train_trial
from vae.checkpoint import load_model
from vae.data import load_dataset

MAX_EPOCHS = PARAMS["max_epochs"]
N_TRAIN = 1198
BUDGET = Budget(images=MAX_EPOCHS * N_TRAIN, n_train=N_TRAIN, grace_period=2 * N_TRAIN, reduction_factor=2)
TRIAL = "0000-fc-4d"


class Killed(BaseException):
    """What a worker's death looks like from inside."""


@pytest.fixture(scope="module")
def data():
    return TrialData.from_dataset(load_dataset("digits"), seed=0)


@pytest.fixture(params=["file", "s3"])
def uri(request, tmp_path):
    if request.param == "file":
        return (tmp_path / "there" / "run").as_uri()
    return request.getfixturevalue("s3").uri(f"{tmp_path.name}/run")


@pytest.fixture
def train(data, monkeypatch):
    """Train a trial of a run as a worker does, and die after an epoch; returns what it reported."""

    def run(run, params=PARAMS, trial_id=TRIAL, *, kill_after=None, resume_from=None):
        results = []

        def report(metrics, checkpoint=None):
            assert checkpoint is None
            results.append(metrics)
            if metrics["epoch"] == kill_after:
                raise Killed

        monkeypatch.setattr(trainable, "report_to_tune", report)
        monkeypatch.setattr(trainable, "get_checkpoint", lambda: None)
        monkeypatch.setattr(trainable.ray, "get_gpu_ids", list)
        session = new_session_dir(run) if resume_from else run.ray_dir
        with contextlib.suppress(Killed):
            train_trial(
                {"trial_id": trial_id, "params": params, "resume_from": resume_from},
                data=data,
                objective=KNN,
                n_threads=1,
                collapse=CollapseRule(0, after=2 * N_TRAIN),
                budget=BUDGET,
                remote=RemoteCheckpoints(run.mirror.filesystem, run.mirror.remote_path(session)),
            )
        return results

    return run


def losses(results):
    return [result["val_loss"] for result in results]


def checkpoints(run):
    return [
        info.path.removeprefix(run.mirror.remote_path(run.ray_dir) + "/")
        for info in run.mirror.list(run.ray_dir, recursive=True)
        if info.base_name.startswith("checkpoint_") and not info.is_file
    ]


def test_only_the_newest_checkpoint_stays_and_holds_the_best_model(uri, train):
    run = RunDirectory.resolve(uri)
    results = train(run)
    assert [result["epoch"] for result in results] == [1, 2, 3, 4]
    assert checkpoints(run) == [f"{TRIAL}/checkpoint_000004792"]
    best = max(results, key=lambda result: result[KNN.name])
    elsewhere = RunDirectory.resolve(uri)
    assert keep_best(elsewhere, TRIAL, best["epoch"])
    elsewhere.fetch(elsewhere.checkpoint_dir(TRIAL))
    assert load_model(elsewhere.checkpoint_dir(TRIAL)).epoch == best["epoch"]
    assert not keep_best(elsewhere, TRIAL, 99)
    assert not keep_best(elsewhere, "0001-fc-4d", 1)


def test_a_killed_worker_and_a_killed_driver_cost_no_epoch(uri, train):
    whole = losses(train(RunDirectory.resolve(uri), trial_id="0001-fc-4d"))
    run = RunDirectory.resolve(uri)
    first = train(run, kill_after=1)
    second = train(run, kill_after=2)  # Tune starts it again, in another worker
    elsewhere = RunDirectory.resolve(uri)
    found = newest_checkpoint(elsewhere, TRIAL)
    assert [row["epoch"] for row in found.history] == [1, 2]
    third = train(elsewhere, resume_from=found.location)
    assert losses(first + second + third) == whole
    assert checkpoints(run)[-1] == f"session-2/{TRIAL}/checkpoint_000004792"
    assert len(newest_checkpoint(elsewhere, TRIAL).history) == MAX_EPOCHS
    assert not any(elsewhere.ray_dir.rglob("checkpoint_*"))  # what was looked at takes no room


def test_a_checkpoint_that_is_half_written_is_passed_over(uri, train):
    run = RunDirectory.resolve(uri)
    train(run, kill_after=2)
    for name in ("config.json", "training.safetensors"):
        source = run.ray_dir / TRIAL / "checkpoint_000002396" / name
        run.mirror.copy(source, run.ray_dir / TRIAL / "checkpoint_000003594" / name)
    assert len(newest_checkpoint(run, TRIAL).history) == 2
    assert [result["epoch"] for result in train(run)] == [3, 4]


@pytest.mark.parametrize("refused", ["best/model.safetensors", "training.safetensors", "history.json"])
def test_a_refused_upload_ends_the_trial_and_its_older_checkpoint_stays(s3, tmp_path, train, refused):
    run = RunDirectory.resolve(s3.uri(f"{tmp_path.name}/run"))

    def refuse(method, path, query):
        third = method in ("PUT", "POST") and f"checkpoint_000003594/{refused}" in path
        return (ACCESS_DENIED if refused != "history.json" else INTERNAL_ERROR) if third else None

    s3.fault = refuse
    # The best model is sent again with each checkpoint.
    with pytest.raises(CheckpointUnreachable, match="cannot reach the checkpoints: (ACCESS_DENIED|INTERNAL)"):
        train(run)
    s3.serve()
    assert len(newest_checkpoint(run, TRIAL).history) == 2
    assert [result["epoch"] for result in train(run)] == [3, 4]


def test_a_checkpoint_in_several_parts_is_there_or_not(s3, tmp_path):
    filesystem, folder = connect(s3.uri(tmp_path.name))
    checkpoints = RemoteCheckpoints(filesystem, folder)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "training.safetensors").write_bytes(bytes(12 << 20))
    checkpoints.save(tmp_path / "here", 1)
    s3.fault = lambda method, path, query: (
        ACCESS_DENIED if method == "POST" and query.startswith("uploadId") else None
    )
    with pytest.raises(CheckpointUnreachable, match="ACCESS_DENIED during CompleteMultipartUpload"):
        checkpoints.save(tmp_path / "here", 2)
    s3.serve()
    assert s3.keys(tmp_path.name) == [f"{tmp_path.name}/checkpoint_000000001/training.safetensors"]
    checkpoints.save(tmp_path / "here", 3)
    assert s3.keys(tmp_path.name) == [f"{tmp_path.name}/checkpoint_000000003/training.safetensors"]


def test_a_journal_older_than_the_checkpoints_judges_the_last_epoch_alone(uri, train):
    run = RunDirectory.resolve(uri)
    study = journal.create_study(run.journal_file, run.path.name, [KNN], budget=BUDGET)
    plan = SmallPlan()
    searcher = OptunaSearcher(study, plan, BUDGET, [KNN])
    other, config = searcher.suggest("ray-0"), searcher.suggest("ray-1")
    for epoch in range(1, MAX_EPOCHS + 1):  # nothing is as good as that
        searcher.on_trial_result("ray-0", {"images": epoch * N_TRAIN, KNN.name: 2.0})
    searcher.tell("ray-0", Outcome(TrialStatus.COMPLETED))
    run.push()
    torch.manual_seed(0)
    results = train(run, config["params"], config["trial_id"], kill_after=3)

    elsewhere = RunDirectory.resolve(uri)
    tables = StudyTables(elsewhere, [KNN], budget=BUDGET)
    rule = Asha(budget=BUDGET.images, grace_period=2 * N_TRAIN, reduction_factor=2)
    (unfinished,) = restore_trials(
        journal.open_study(elsewhere.journal_file, elsewhere.path.name),
        plan,
        EarlyStopping(rule, KNN, budget=BUDGET.images),
        tables,
    )
    assert unfinished.trial_id == config["trial_id"]
    assert other["trial_id"] in rule.rungs[2 * N_TRAIN].values
    assert rule.rungs[2 * N_TRAIN].values[config["trial_id"]] == results[1][KNN.name]
    assert sorted(tables.epochs[config["trial_id"]]) == [N_TRAIN, 2 * N_TRAIN, 3 * N_TRAIN]
    trial = open_journal(elsewhere.path).trials[1]
    assert trial.intermediate_values == {r["images"]: r[KNN.name] for r in results}
    assert [
        r["epoch"]
        for r in train(elsewhere, unfinished.params, unfinished.trial_id, resume_from=unfinished.checkpoint)
    ] == [4]
