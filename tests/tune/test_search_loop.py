"""Whole searches on digits in a process of their own: the real Ray, the real Optuna, signals and kills."""

import json
import os
import signal
from pathlib import Path

import optuna
import pytest
import yaml
from safetensors.torch import load_file

from tests.processes import optuna_state, start_tune
from tests.soak import check_curve
from tests.tune.conftest import SMALL_SPACE, open_journal
from tune.__main__ import main
from tune.callbacks.recorder import Recorder
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import EPOCHS, TRIALS, read_table
from vae.checkpoint import load_model

pytestmark = [pytest.mark.ray, pytest.mark.slow]

MAX_EPOCHS = 4
N_TRIALS = 6
DIVERGES = {"architecture": "fc", "optimizer": "sgd", "learning_rate": 1e12}
MIXED_SPACE = (
    {"optimizer": {"choice": ["adam", "sgd"]}}
    | SMALL_SPACE
    | {
        "learning_rate": [
            {"choice": [1e-2, 1e12], "when": {"optimizer": "sgd"}},
            {"float": [1e-3, 1e-2], "log": True, "when": {"optimizer": "adam"}},
        ],
        "start": [
            {"architecture": "conv", "latent_dim": 8, "optimizer": "adam", "learning_rate": 5e-3},
            {"architecture": "fc", "latent_dim": 8, "optimizer": "adam", "learning_rate": 5e-3},
            DIVERGES,
        ],
    }
)


def command(tmp_path: Path, space: dict, *arguments: str) -> list[str]:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space, sort_keys=False))
    return [
        "search",
        "--dataset",
        "digits",
        "--space",
        "space.yaml",
        "--name",
        "run",
        "--no-evaluate",
        *arguments,
    ]


def read(run: RunDirectory) -> tuple[list[dict], list[dict]]:
    return read_table(run.trials_file).to_pylist(), read_table(run.epochs_file).to_pylist()


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """Return a finished search with its output and its run directory."""
    directory = tmp_path_factory.mktemp("search")
    arguments = command(directory, MIXED_SPACE, "--trials", str(N_TRIALS), "--max-epochs", str(MAX_EPOCHS))
    arguments += ["--grace-period", "1", "--reduction-factor", "3"]
    process = start_tune(*arguments, "--seed", "3", cwd=directory, figures=True)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, f"{out}\n{err}"
    return out, err, RunDirectory(directory / "runs" / "run")


def test_the_tables_have_a_row_for_each_trial_and_each_epoch(search):
    trials, epochs = read(search[2])
    assert [row["number"] for row in trials] == list(range(N_TRIALS))
    assert {row["config_architecture"] for row in trials} == {"fc", "conv"}
    by_trial = {row["trial_id"]: [] for row in trials}
    for row in epochs:
        by_trial[row["trial_id"]].append(row["epoch"])
    for row in trials:
        assert by_trial[row["trial_id"]] == list(range(1, int(row["epochs"]) + 1))
    for path, schema in ((search[2].trials_file, TRIALS), (search[2].epochs_file, EPOCHS)):
        read_back = read_table(path).schema
        assert read_back.names == schema.names
        assert read_back.metadata[b"schema_version"] == schema.metadata[b"schema_version"]


def test_the_status_agrees_with_the_epochs(search):
    trials, epochs = read(search[2])
    for row in trials:
        if row["status"] == "completed":
            assert (row["epochs"], row["stop_reason"]) == (MAX_EPOCHS, None)
        elif row["status"] == "stopped_early":
            assert row["stop_reason"] == "rung"
            assert row["rung"] == row["epochs"]  # it ends where it is judged
            assert row["rung"] in (1, 3)  # the rungs of 4 epochs; which one depends on who arrived first
            at_rung = next(e for e in epochs if (e["trial_id"], e["epoch"]) == (row["trial_id"], row["rung"]))
            assert at_rung["val_knn_accuracy"] < row["cutoff"]
        else:
            assert (row["status"], row["stop_reason"]) == ("failed", "nan")
    assert trials[0]["status"] == "completed"  # the first at a rung always goes on
    assert trials[2]["stop_reason"] == "nan"  # the starting point that must diverge


def test_optuna_knows_what_the_tables_know(search):
    run = search[2]
    trials, epochs = read(run)
    known = open_journal(run.path).trials
    optuna_trials = [trial for trial in known if "trial_id" in trial.user_attrs]
    repeats = [trial for trial in known if "trial_id" not in trial.user_attrs]
    assert len(optuna_trials) == N_TRIALS
    assert {trial.state.name for trial in repeats} <= {"FAIL"}  # proposed in vain, as already tried
    for row, trial in zip(trials, optuna_trials, strict=True):
        assert trial.user_attrs["trial_id"] == row["trial_id"]
        assert trial.state.name == optuna_state(row)
        assert trial.intermediate_values == {
            epoch["images"]: epoch["val_knn_accuracy"]
            for epoch in epochs
            if epoch["trial_id"] == row["trial_id"] and epoch["val_knn_accuracy"] is not None
        }
        if row["status"] == "completed":
            assert trial.values == [row["objective"]]
        assert trial.params["latent_dim"] == row["config_latent_dim"]


def test_the_objective_is_that_of_the_best_epoch(search):
    trials, epochs = read(search[2])
    for row in trials:
        values = {
            epoch["epoch"]: epoch["val_knn_accuracy"]
            for epoch in epochs
            if epoch["trial_id"] == row["trial_id"] and epoch["val_knn_accuracy"] is not None
        }
        assert row["objective"] == (max(values.values()) if values else None)
        assert row["best_epoch"] == (
            max(values, key=lambda epoch: (values[epoch], -epoch)) if values else None
        )


def test_each_checkpoint_is_the_best_epochs_model_and_loads_alone(search):
    run = search[2]
    trials, _ = read(run)
    for row in trials:
        assert (row["checkpoint"] is None) == (row["objective"] is None)
        if row["checkpoint"] is None:
            continue
        loaded = load_model(run.path / row["checkpoint"])
        assert loaded.epoch == row["best_epoch"]
        assert loaded.metrics["val_knn_accuracy"] == row["objective"]
        assert loaded.config.model.latent_dim == row["config_latent_dim"]
        assert loaded.config.training.seed == row["seed"]
        assert load_file(run.path / row["checkpoint"] / "model.safetensors")
    kept = {f"checkpoints/{path.name}" for path in run.checkpoints_dir.iterdir()}
    assert kept == {row["checkpoint"] for row in trials if row["checkpoint"]}


def test_study_json_tells_where_the_result_comes_from(search):
    study = json.loads(search[2].study_file.read_text())
    assert (study["name"], study["status"], study["seed"]) == ("run", "completed", 3)
    assert (study["objective"], study["mode"], study["max_epochs"]) == (
        ["val_knn_accuracy"],
        "max",
        MAX_EPOCHS,
    )
    assert study["arguments"]["trials"] == N_TRIALS
    assert study["dataset"]["name"] == "digits"
    assert study["dataset"]["fingerprint"]
    assert study["space"] == json.loads(json.dumps(MIXED_SPACE))
    assert study["versions"]["ray"]
    assert study["hardware"]["cpus"] >= 1
    assert set(study["code"]) == {"sha", "dirty"}
    assert study["finished_at"] > study["created_at"]
    timings = study["timings"]
    trained = sum(row["train_seconds"] for row in read(search[2])[0])
    assert timings["train_s"] == pytest.approx(trained)
    assert timings["occupancy"] == pytest.approx(trained / timings["search_s"] / study["resources"]["slots"])


def test_the_search_says_what_it_found_and_is_quiet_otherwise(search):
    out, err, run = search
    trials, _ = read(run)
    best = max((row for row in trials if row["status"] == "completed"), key=lambda row: row["objective"])
    assert f"best {best['trial_id']}: val_knn_accuracy {best['objective']:.4f}" in out
    assert f"everything is in {run.path}" in out
    for line in err.splitlines():  # ASHA's decisions only
        assert " stopped after " in line, err


def test_the_run_directory_holds_what_is_documented_and_no_leftovers(search):
    run = search[2]
    assert {path.name for path in run.path.iterdir()} == {
        "study.json",
        "trials.parquet",
        "epochs.parquet",
        "figures",
        "report.html",
        "checkpoints",
        "optuna.journal",
        "ray",
        ".lock",
        ".driver",
    }
    assert list(run.ray_dir.glob("*/events.out.tfevents.*"))  # TensorBoard


def test_status_shows_the_trials(search, capsys):
    assert main(["status", str(search[2].path)]) == 0
    out = capsys.readouterr().out
    for row in read(search[2])[0]:
        assert row["trial_id"] in out
    assert "run: completed" in out


def test_a_killed_worker_goes_on_from_its_checkpoint(tmp_path, monkeypatch, ray_cluster):
    n_epochs = 8
    space = {
        "architecture": "resnet",
        "latent_dim": 4,
        "batch_size": 64,
        "learning_rate": {"float": [1e-3, 2e-3]},
    }
    arguments = command(
        tmp_path, space, "--trials", "1", "--max-epochs", str(n_epochs), "--grace-period", str(n_epochs - 1)
    )
    run, seen, killed = RunDirectory(tmp_path / "runs" / "run"), [], []

    record = Recorder.on_trial_result

    def record_and_kill(self, *arguments, result, **info):
        record(self, *arguments, result=result, **info)
        seen.append(result)
        if result["epoch"] == 2 and not killed:
            killed.append(result["pid"])
            os.kill(result["pid"], signal.SIGKILL)

    monkeypatch.setattr(Recorder, "on_trial_result", record_and_kill)
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 0
    (pid,) = killed
    before = [result["epoch"] for result in seen if result["pid"] == pid]
    after = [result["epoch"] for result in seen if result["pid"] != pid]
    assert before == list(range(1, before[-1] + 1))
    assert after == list(range(after[0], n_epochs + 1))
    assert before[-1] < n_epochs, "the trial was over before it was killed"
    assert before[-1] <= after[0] <= before[-1] + 1  # at most the epoch that was under way is lost

    (trial,), epochs = read(run)
    assert (trial["status"], trial["epochs"]) == ("completed", n_epochs)
    assert [row["epoch"] for row in epochs] == list(range(1, n_epochs + 1))
    check_curve(run, trial)
    (trial_in_optuna,) = open_journal(run.path).trials
    assert trial_in_optuna.state == optuna.trial.TrialState.COMPLETE
    assert list(trial_in_optuna.intermediate_values) == [row["images"] for row in epochs]


def test_a_search_in_which_nothing_completes_fails_and_says_so(tmp_path, monkeypatch, capsys, ray_cluster):
    space = {
        "architecture": "fc",
        "optimizer": "sgd",
        "learning_rate": {"float": [1e12, 1e13]},
        "latent_dim": 4,
    }
    arguments = command(tmp_path, space, "--trials", "2", "--max-epochs", "3", "--max-concurrent", "1")
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "no trial trained its full budget: 2 failed, all with: nan; see " in " ".join(out.split())
    trials, _ = read(RunDirectory(tmp_path / "runs" / "run"))
    assert [(row["status"], row["stop_reason"], row["objective"]) for row in trials] == [
        ("failed", "nan", None)
    ] * 2
    assert all(trial.state.name == "PRUNED" for trial in open_journal(tmp_path / "runs" / "run").trials)
