"""A worker that dies in the one moment in which Tune does not retry: when it is handed the next trial."""

import psutil
import pytest
import yaml
from ray.tune.execution.tune_controller import TuneController

from evaluation.run_directory import RunDirectory
from evaluation.tables import read_table
from tests.processes import STATES, runs_trials
from tests.tune.conftest import SMALL_SPACE, open_journal
from tune.__main__ import main

pytestmark = [pytest.mark.ray, pytest.mark.slow]


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
    command = "search --dataset digits --space space.yaml --name run --trials 5 --max-epochs 4 --no-evaluate"
    assert main(command.split()) == 0
    assert killed
    assert "lost its worker before it began" in caplog.text
    run = RunDirectory(tmp_path / "runs" / "run")
    rows = sorted(read_table(run.trials_file).to_pylist(), key=lambda row: row["number"])
    assert len(rows) == 5
    assert {row["status"] for row in rows} <= {"completed", "stopped_early"}
    assert all(row["epochs"] and row["stop_reason"] in (None, "rung") for row in rows)
    assert [trial.state.name for trial in open_journal(run.path).trials] == [
        STATES[row["status"]] for row in rows
    ]
