"""The Python API on digits: what it returns, and that it leaves the program around it as it was."""

import inspect
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest
import ray
from ray.tune import Callback

import tune
from tests.tune.conftest import SMALL_SPACE
from tune.cluster.environment import RAY_VARIABLES
from tune.study.images import load_images
from tune.study.plan import Plan
from vae.checkpoint import load_model
from vae.data import load_dataset
from vae.errors import UsageError

SOURCE = Path(__file__).resolve().parents[2]


class CtrlC(Callback):
    """Sends this process, once, what the keyboard sends."""

    def __init__(self):
        self.sent = False

    def on_trial_result(self, *arguments, **info):
        if not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGINT)


class Results(Callback):
    """Counts the epochs that it sees."""

    def __init__(self):
        self.n_epochs = 0

    def on_trial_result(self, *arguments, **info):
        self.n_epochs += 1


@pytest.fixture(scope="module")
def images():
    train = load_dataset("digits").train
    return train.images.numpy().transpose(0, 2, 3, 1)[..., 0], train.labels.numpy()


@pytest.fixture(scope="module")
def seen():
    return Results()


@pytest.fixture(scope="module")
def study(ray_cluster, images, seen, tmp_path_factory):
    """A search of arrays, in a program that is connected to Ray already."""
    return tune.search(
        images,
        trials=3,
        max_epochs=3,
        space=SMALL_SPACE,
        storage=tmp_path_factory.mktemp("runs"),
        name="mine",
        callbacks=[seen],
        progress=False,
    )


@pytest.mark.ray
@pytest.mark.slow
def test_a_search_returns_its_study(study):
    assert (study.name, study.status, len(study.trials)) == ("mine", "completed", 3)
    last = study.epochs.groupby("trial_id")["epoch"].max()
    assert last.to_dict() == study.trials.set_index("trial_id")["epochs"].to_dict()
    completed = study.trials.query("status == 'completed'")
    assert study.best_trial.value == completed["objective"].max()
    assert study.best_trials == [study.best_trial]


@pytest.mark.ray
@pytest.mark.slow
def test_the_best_trial_has_its_params_metrics_and_model(study):
    best = study.best_trial
    assert best.params["max_epochs"] == 3
    assert best.params["architecture"] in ("fc", "conv")
    assert best.metrics["val_knn_accuracy"] == best.value
    assert load_model(best.checkpoint).config.to_params()["latent_dim"] == best.params["latent_dim"]


@pytest.mark.ray
@pytest.mark.slow
def test_optuna_has_the_same_values(study):
    values = {
        t.user_attrs["trial_id"]: t.value for t in study.optuna_study.trials if t.state.name == "COMPLETE"
    }
    assert values[study.best_trial.trial_id] == study.best_trial.value


@pytest.mark.ray
@pytest.mark.slow
def test_the_run_directory_keeps_arrays(study, images):
    dataset = load_images(study.run, study.record.dataset)
    assert dataset.fingerprint == study.record.dataset.fingerprint
    assert len(dataset.train) + len(dataset.test) == len(images[0])


@pytest.mark.ray
@pytest.mark.slow
def test_further_callbacks_see_every_epoch(study, seen):
    assert seen.n_epochs >= len(study.epochs)


@pytest.mark.ray
@pytest.mark.slow
def test_the_program_keeps_its_own_connection_to_ray(study):
    assert ray.is_initialized()


@pytest.mark.ray
@pytest.mark.slow
def test_a_notebook_shows_the_best_trials(study):
    html = study._repr_html_()
    assert "<b>mine</b>: completed" in html
    assert study.best_trial.trial_id in html
    assert "mine: completed" in repr(study)


@pytest.mark.ray
@pytest.mark.slow
def test_a_complete_study_is_resumed_to_itself_and_extended(study):
    assert tune.resume(study, progress=False).status == "completed"
    with pytest.raises(tune.UsageError, match="there is nothing to extend"):
        tune.extend(study, progress=False)
    with pytest.raises(tune.UsageError, match="trials must be a whole number >= 0, got 'many'"):
        tune.extend(study, trials="many", progress=False)
    longer = tune.extend(study.location, trials=1, progress=False)
    assert (len(longer.trials), len(study.trials), study.status) == (4, 4, "completed")


@pytest.mark.ray
@pytest.mark.slow
def test_ctrl_c_returns_the_study_and_resume_continues_it(ray_cluster, tmp_path):
    budget = {"trials": 3, "max_epochs": 6, "space": SMALL_SPACE, "max_concurrent": 1}
    before = tune.search(
        "digits", **budget, storage=tmp_path, name="run", callbacks=[CtrlC()], progress=False
    )
    assert before.status == tune.load(tmp_path / "run").status == "interrupted"
    n_epochs = len(before.epochs)
    assert 0 < n_epochs < 18
    after = tune.resume(before, progress=False)
    assert (after.status, len(after.trials)) == ("completed", 3)
    assert len(after.epochs) > n_epochs


def test_an_argument_has_the_default_of_the_plan():
    names = {"time_budget": "time_budget_s"}
    plan = {field.name: field.default for field in fields(Plan)}
    arguments = inspect.signature(tune.search).parameters
    common = [name for name in arguments if names.get(name, name) in plan]
    assert set(plan) - {names.get(name, name) for name in common} == {"evaluate"}
    assert {name: arguments[name].default for name in common} == {
        name: plan[names.get(name, name)] for name in common
    }


def test_a_wrong_argument_is_an_error_of_ours_and_leaves_nothing(tmp_path):
    with pytest.raises(tune.UsageError, match="trials must be a whole number >= 1, got 0"):
        tune.search("digits", trials=0, storage=tmp_path)
    with pytest.raises(tune.UsageError, match="unknown dataset 'fminst'"):
        tune.search("fminst", storage=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_study_without_a_complete_trial_has_no_best_one(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"name": "a"}))
    study = tune.load(tmp_path)
    assert (len(study.trials), len(study.epochs)) == (0, 0)
    with pytest.raises(tune.UsageError, match="no trial of .* has run its full budget yet"):
        _ = study.best_trial


def test_a_session_leaves_the_environment_as_it_was():
    program = (
        "import os; before = dict(os.environ); import tune.cluster.session;"
        "from tune.cluster.environment import RAY_VARIABLES, SET_BY_A_SESSION, ray_environment;"
        "names = (*RAY_VARIABLES, *SET_BY_A_SESSION);"
        "same = lambda: all(os.environ.get(n) == before.get(n) for n in names);"
        "assert same();\n"
        "with ray_environment():\n"
        "    assert all(n in os.environ for n in RAY_VARIABLES); os.environ['PYTHONPATH'] = '/x'\n"
        "assert same()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=SOURCE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_value_that_the_user_has_set_stays(monkeypatch):
    from tune.cluster.environment import ray_environment

    name = next(iter(RAY_VARIABLES))
    monkeypatch.setenv(name, "mine")
    with ray_environment():
        assert os.environ[name] == "mine"
    assert os.environ[name] == "mine"


def test_a_search_in_another_thread_is_refused_before_anything_is_written(tmp_path):
    with ThreadPoolExecutor() as threads:
        search = threads.submit(tune.search, "digits", storage=tmp_path / "runs", progress=False)
        with pytest.raises(UsageError, match="must run in the main thread"):
            search.result()
    assert not (tmp_path / "runs").exists()
