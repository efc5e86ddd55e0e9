"""Searches on digits that are killed, interrupted, resumed and extended, as a user would do it."""

import shutil
import signal

import pytest
import yaml

from tests.pickle_bomb import Bomb
from tests.processes import optuna_state, start_tune, wait_for
from tests.soak import check_curve, soak_round
from tests.tune.conftest import SMALL_SPACE, open_journal
from tune import retrain
from tune.__main__ import _Evaluation, main
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyStatus
from tune.storage.tables import read_table
from vae.checkpoint import load_model
from vae.errors import StorageError, UsageError

pytestmark = [pytest.mark.ray, pytest.mark.slow]

N_TRAIN = 1198


SPACE = SMALL_SPACE | {"architecture": {"choice": ["fc", "conv1xn"]}, "start": [{"architecture": "conv1xn"}]}


def search(directory, *arguments):
    """Return the words of a search, and the run directory that it makes."""
    (directory / "space.yaml").write_text(yaml.safe_dump(SPACE, sort_keys=False))
    command = ["search", "--dataset", "digits", "--space", str(directory / "space.yaml"), "--name", "run"]
    command += ["--storage", str(directory / "runs"), "--no-evaluate", *arguments]
    return command, RunDirectory(directory / "runs" / "run")


def content(run):
    return {
        path.relative_to(run.path): path.read_bytes()
        for path in run.path.rglob("*")
        if path.is_file() and path != run.lock_file
    }


def rows(run):
    return {row["trial_id"]: row for row in read_table(run.trials_file).to_pylist()}


def agrees(run):
    """Check that tables and journal tell the same, with one row for each trial and epoch."""
    epochs = [(row["trial_id"], row["epoch"]) for row in read_table(run.epochs_file).to_pylist()]
    assert len(set(epochs)) == len(epochs)
    optuna_trials = {trial.user_attrs["trial_id"]: trial for trial in open_journal(run.path).trials}
    assert optuna_trials.keys() == rows(run).keys()
    for trial_id, row in rows(run).items():
        assert optuna_trials[trial_id].state.name == optuna_state(row)
        assert [epoch for name, epoch in epochs if name == trial_id] == list(range(1, int(row["epochs"]) + 1))
        told = sorted(optuna_trials[trial_id].intermediate_values)
        assert told == [N_TRAIN * epoch for epoch in range(1, int(row["epochs"]) + 1)]


def test_a_kill_at_a_random_moment_loses_and_doubles_nothing(tmp_path):
    """By this seed all processes, in the middle; `test_storage.py` has a worker's, then its driver's."""
    (kill,) = soak_round(tmp_path, seed=114, n_kills=1, n_trials=6)
    assert kill.victim == "machine"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, ray_cluster):
    command, run = search(
        tmp_path_factory.mktemp("finished"),
        *("--trials", "5", "--max-epochs", "4", "--scheduler", "median", "--sampler", "random"),
        *("--max-concurrent", "1"),  # a worker takes seconds to start
    )
    assert main(command) == 0
    return run


def test_resuming_a_finished_study_says_so_and_changes_nothing(finished, capsys):
    before = content(finished)
    assert main(["resume", str(finished.path)]) == 0
    assert "run is finished: 5 trials, nothing to resume" in capsys.readouterr().out
    assert content(finished) == before


def test_an_extension_that_cannot_begin_changes_nothing(finished, tmp_path, monkeypatch):
    run = RunDirectory(shutil.copytree(finished.path, tmp_path / "runs" / "run"))
    for file in (run.journal_file, run.trials_file):
        whole = file.read_bytes()
        file.write_bytes(b"junk\n" * 3)
        before = content(run)
        with pytest.raises(StorageError, match=f"cannot read {file}"):
            main(["extend", str(run.path), "--trials", "1", "--max-epochs", "8"])
        assert content(run) == before
        file.write_bytes(whole)

    def interrupt(*arguments):
        raise KeyboardInterrupt

    before = content(run)
    with monkeypatch.context() as patch:
        patch.setattr("tune.driver.choose_gpu_share", interrupt)
        with pytest.raises(KeyboardInterrupt):
            main(["extend", str(run.path), "--trials", "1"])
    assert content(run) == before


def test_a_finished_study_is_extended_by_trials_and_epochs_also_under_another_name(finished, tmp_path):
    run = RunDirectory(shutil.copytree(finished.path, tmp_path / "runs" / "renamed"))
    before = rows(run)
    completed = {trial_id for trial_id, row in before.items() if row["status"] == "completed"}
    assert completed
    bomb = Bomb(tmp_path)
    pickles = [path for path in run.ray_dir.rglob("*.pkl") if path.write_bytes(bomb.content)]
    assert run.ray_dir / "tuner.pkl" in pickles
    with bomb.stays_whole():  # what Tune has pickled is for its own way to resume
        assert main(["extend", str(run.path), "--trials", "2", "--max-epochs", "8"]) == 0
    after = rows(run)
    agrees(run)
    assert len(after) == 7
    assert [trial_id for trial_id, row in after.items() if row["epochs"] == 8]
    for trial_id in before:
        assert after[trial_id]["epochs"] >= before[trial_id]["epochs"]
        assert after[trial_id]["seed"] == before[trial_id]["seed"]
        if after[trial_id]["epochs"] == before[trial_id]["epochs"]:
            assert after[trial_id] == before[trial_id]
    for trial_id in completed:  # none counts as completed with the budget of before
        assert after[trial_id]["epochs"] > 4
        assert after[trial_id]["config_max_epochs"] == 8
        assert after[trial_id]["config_schedule_epochs"] == [4, 8]
        assert load_model(run.path / after[trial_id]["checkpoint"]).epoch == after[trial_id]["best_epoch"]
    assert {row["study"] for row in after.values()} == {"run"}
    continued = [row for row in after.values() if row["trial_id"] in completed and row["epochs"] == 8]
    check_curve(run, max(continued, key=lambda row: row["config_architecture"] != "fc"))
    assert all(row["config_schedule_epochs"] == [8] for row in after.values() if row["number"] >= 5)
    study = run.read_study()
    assert (study.max_epochs, study.arguments["trials"], len(study.sessions)) == (8, 7, 2)


def test_an_extension_that_adds_nothing_is_refused(finished):
    with pytest.raises(UsageError, match="nothing to extend; give --trials, --budget or both"):
        main(["extend", str(finished.path)])
    with pytest.raises(UsageError, match="max_epochs can only grow: it is 4, got 3"):
        main(["extend", str(finished.path), "--max-epochs", "3"])


@pytest.fixture
def killed(finished, tmp_path):
    """The same as if its driver had been killed; returns it and what changes its arguments."""
    run = RunDirectory(shutil.copytree(finished.path, tmp_path / "runs" / "run"))

    def change(**arguments):
        record = run.read_study()
        record.arguments |= arguments
        record.status = StudyStatus.RUNNING
        record.sessions[-1]["started_at"] = "2026-01-02T03:04:05+00:00"
        record.write(run.study_file)

    return run, change


@pytest.fixture
def ends(monkeypatch):
    """How searches ended: evaluated, which is estimated to take 50 s, or reported."""
    called = []
    for name in ("run", "report"):
        monkeypatch.setattr(_Evaluation, name, lambda *arguments, name=name: called.append(name))
    monkeypatch.setattr(_Evaluation, "seconds", lambda *arguments: 50.0)
    return called


@pytest.mark.parametrize(("trials", "status"), [(5, "completed"), (6, "time_budget")])
def test_a_study_that_was_killed_in_its_evaluation_continues_there(killed, ends, capsys, trials, status):
    run, change = killed
    change(trials=trials, time_budget_s=60.0, evaluate=True)
    before = rows(run)
    assert main(["resume", str(run.path)]) == 0
    assert ends == ["run"]
    assert rows(run) == before
    assert run.read_study().status == status
    out = capsys.readouterr().out
    assert ("the time budget leaves no time for trials" in out) == (trials == 6)
    assert (f"`python -m tune resume {run.path} --time-budget TIME` does what remains" in out) == (
        trials == 6
    )


def test_an_extension_without_time_for_trials_is_refused_and_changes_nothing(finished, ends, tmp_path):
    run = RunDirectory(shutil.copytree(finished.path, tmp_path / "runs" / "run"))
    record = run.read_study()
    record.arguments["evaluate"] = True
    record.write(run.study_file)
    before = content(run)
    with pytest.raises(
        UsageError, match="a time budget of 9 s leaves no time for trials: the evaluation tak"
    ):
        main(["extend", str(run.path), "--trials", "1", "--time-budget", "9s"])
    assert content(run) == before


@pytest.mark.parametrize("evaluate", [True, False])  # False: begun by `tune.search`, or with --no-evaluate
def test_fresh_seeds_that_the_time_budget_has_cut_are_trained_by_a_resume(
    killed, ends, monkeypatch, capsys, evaluate
):
    run, change = killed
    change(finalist_seeds=2, time_budget_s=3600.0 * 24 * 365 * 10, evaluate=evaluate)
    left = [3, 0]
    monkeypatch.setattr(retrain, "retrain_finalists", lambda *arguments, **options: left.pop(0))
    assert main(["resume", str(run.path)]) == 0
    assert run.read_study().status == "time_budget"
    assert main(["resume", str(run.path)]) == 0
    assert left == [0]
    assert "has used its time budget, nothing was changed" in capsys.readouterr().out
    assert main(["resume", str(run.path), "--time-budget", "10h"]) == 0
    assert run.read_study().status == "completed"
    assert ends == ["run" if evaluate else "report"] * 2
    assert (f"not evaluated; `python -m evaluation {run.path}`" in capsys.readouterr().out) != evaluate


def test_a_search_starts_from_the_best_of_another(finished, tmp_path):
    more = ("--trials", "2", "--max-epochs", "2", "--max-concurrent", "1")
    command, run = search(tmp_path, *more, "--warm-start", str(finished.path))
    assert main(command) == 0
    best = sorted(
        (row for row in rows(finished).values() if row["status"] == "completed"),
        key=lambda row: -row["objective"],
    )
    first = sorted(rows(run).values(), key=lambda row: row["number"])
    names = ("config_architecture", "config_latent_dim", "config_learning_rate")
    for started, other in zip(first, best, strict=False):
        assert [started[name] for name in names] == [other[name] for name in names]


def test_ctrl_c_and_resume_make_one_search_and_nobody_else_may_interfere(tmp_path, ray_cluster):
    options = "--trials 3 --max-epochs 12 --grace-period 11 --objective val_ssim --objective val_mse"
    command, run = search(tmp_path, *options.split(), "--max-concurrent", "1")
    process = start_tune(*command, cwd=tmp_path)
    wait_for(lambda: run.epochs_file.exists() and read_table(run.epochs_file).num_rows > 5, process)
    with pytest.raises(UsageError) as refused:
        main(["resume", str(run.path)])
    assert f"another process is at work on {run.path} (process {process.pid} on " in str(refused.value)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, f"{out}\n{err}"
    assert f"`python -m tune resume {run.path}` continues" in out
    interrupted = rows(run)
    assert {row["status"] for row in interrupted.values()} <= {"completed", "stopped_early", "pending"}

    assert main(["resume", str(run.path)]) == 0
    after = rows(run)
    assert len(after) == 3
    epochs = [(row["trial_id"], row["epoch"]) for row in read_table(run.epochs_file).to_pylist()]
    assert len(set(epochs)) == len(epochs)
    optuna_trials = open_journal(run.path).trials
    assert [trial.state.name for trial in optuna_trials] == [
        optuna_state(row) for row in sorted(after.values(), key=lambda row: row["number"])
    ]
    done = [row for row in after.values() if row["status"] == "completed"]
    front = [row for row in done if row["pareto"]]
    assert front
    for row in done:
        beaten = any(
            other["val_ssim"] >= row["val_ssim"]
            and other["val_mse"] <= row["val_mse"]
            and (other["val_ssim"], other["val_mse"]) != (row["val_ssim"], row["val_mse"])
            for other in done
        )
        assert row["pareto"] == (not beaten)
    for trial in optuna_trials:
        if trial.state.name == "COMPLETE":
            row = after[trial.user_attrs["trial_id"]]
            assert trial.values == [row["val_ssim"], row["val_mse"]]
