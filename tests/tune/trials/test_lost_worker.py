"""Workers that die: again and again, with progress in between, when asked to, as they are handed a trial."""

import json
import subprocess
import sys
from collections import Counter

import psutil
import pytest
import yaml
from ray.tune.execution.tune_controller import TuneController

from tests.processes import SOURCE, optuna_state, own_environment, runs_trials
from tests.soak import check_curve
from tests.tune.conftest import SMALL_SPACE, open_journal
from tune.__main__ import main
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ALWAYS = 99
NEVER_GETS_ON, GETS_ON, IS_ASKED, WAITS = 1, 2, 3, 4
DEATHS = {
    NEVER_GETS_ON: {2: ["SIGKILL", ALWAYS]},
    GETS_ON: {2: ["SIGKILL", 1], 3: ["SIGKILL", 1], 4: ["SIGKILL", 1]},
    IS_ASKED: {2: ["SIGTERM", 1]},
    WAITS: {1: ["SIGKILL", 1]},
}
MAX_EPOCHS = 4


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """Return a finished search in which workers died, what it printed, and what they had trained."""
    directory = tmp_path_factory.mktemp("search")
    (directory / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE | {"architecture": "conv1xn"}))
    log = directory / "log"
    (directory / "deaths.json").write_text(
        json.dumps({"log": str(log), "pause_s": 0.3, "deaths": DEATHS, "ghost": WAITS})
    )
    options = ["--dataset", "digits", "--space", "space.yaml", "--trials", "5", "--scheduler", "none"]
    options += ["--max-epochs", str(MAX_EPOCHS), "--name", "run", "--no-evaluate", "--no-dashboard"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.tune.deaths", "deaths.json", "search", *options],
        cwd=directory,
        env=own_environment() | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    run = RunDirectory(directory / "runs" / "run")
    rows = sorted(read_table(run.trials_file).to_pylist(), key=lambda row: row["number"])
    return run, rows, done.stderr, [line.split() for line in log.read_text().splitlines()]


def trained(log, number):
    """Return how often each epoch of a trial was trained."""
    return Counter(int(line[2]) for line in log if line[:2] == ["epoch", str(number)])


def test_a_trial_whose_worker_dies_again_and_again_fails_and_says_so(search):
    _, rows, err, log = search
    row = rows[NEVER_GETS_ON]
    assert (row["status"], row["stop_reason"], row["epochs"]) == ("failed", "error", 1)
    assert row["error"].startswith(
        f"its worker died 3 times in a row on {row['node']}, last: ActorDiedError: "
    )
    assert row["error"] in err
    assert trained(log, NEVER_GETS_ON) == {1: 1, 2: 3}


def test_the_rest_of_the_study_is_complete(search):
    run, rows, _, _ = search
    assert [row["status"] for row in rows] == ["completed", "failed", *["completed"] * 3]
    epochs = Counter((row["trial_id"], row["epoch"]) for row in read_table(run.epochs_file).to_pylist())
    assert epochs == {
        (row["trial_id"], epoch): 1 for row in rows for epoch in range(1, int(row["epochs"]) + 1)
    }
    assert [trial.state.name for trial in open_journal(run.path).trials] == [
        optuna_state(row) for row in rows
    ]


def test_a_trial_that_gets_on_may_lose_any_number_of_workers(search):
    run, rows, _, log = search
    assert rows[GETS_ON]["status"] == "completed"
    check_curve(run, rows[GETS_ON])
    assert trained(log, GETS_ON) == {1: 1, 2: 2, 3: 2, 4: 2}  # no more than the current epoch is lost


def test_a_worker_that_is_asked_to_end_finishes_its_epoch_first(search):
    _, rows, _, log = search
    assert rows[IS_ASKED]["status"] == "completed"
    assert trained(log, IS_ASKED) == dict.fromkeys(range(1, MAX_EPOCHS + 1), 1)
    pids = [line[-1] for line in log if line[:2] == ["epoch", str(IS_ASKED)]]
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_a_trial_does_not_wait_for_ever_for_a_node_that_is_gone(search):
    _, rows, err, log = search
    assert f"{rows[WAITS]['trial_id']} failed on {rows[WAITS]['node']} before its first report there" in err
    assert rows[WAITS]["status"] == "completed"
    assert trained(log, WAITS) == {1: 2, 2: 1, 3: 1, 4: 1}


def test_a_worker_that_dies_as_it_is_handed_a_trial_costs_nothing(tmp_path, monkeypatch, caplog, ray_cluster):
    reset, killed = TuneController._schedule_trial_reset, []

    def kill_and_reset(self, *arguments, **options):
        if not killed:
            children = psutil.Process().children(recursive=True)
            killed.extend(child for child in children if runs_trials(child))
            for worker in killed:
                worker.kill()
        return reset(self, *arguments, **options)

    monkeypatch.setattr(TuneController, "_schedule_trial_reset", kill_and_reset)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE))
    command = "search --dataset digits --space space.yaml --name run --max-epochs 4 --no-evaluate"
    assert main([*command.split(), "--trials", "3", "--max-concurrent", "1"]) == 0
    assert killed
    assert "lost its worker before it began" in caplog.text
    run = RunDirectory(tmp_path / "runs" / "run")
    rows = sorted(read_table(run.trials_file).to_pylist(), key=lambda row: row["number"])
    assert len(rows) == 3
    assert {row["status"] for row in rows} <= {"completed", "stopped_early"}
    assert all(row["epochs"] and row["stop_reason"] in (None, "rung") for row in rows)
    assert [trial.state.name for trial in open_journal(run.path).trials] == [
        optuna_state(row) for row in rows
    ]
