"""A worker that dies in the one moment in which Tune does not retry: when it is handed the next trial."""

import subprocess
import sys

import pytest
import yaml

from evaluation.run_directory import RunDirectory
from evaluation.tables import read_table
from tests.processes import SOURCE, STATES, own_environment
from tests.tune.conftest import SMALL_SPACE, open_journal

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SCRIPT = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import psutil
from tests.processes import runs_trials
from ray.tune.execution.tune_controller import TuneController
reset, killed = TuneController._schedule_trial_reset, []

def kill_and_reset(self, *arguments, **options):
    if not killed:
        children = psutil.Process().children(recursive=True)
        killed.extend(child for child in children if runs_trials(child))
        for worker in killed:
            worker.kill()
        print(f"killed {len(killed)} workers", flush=True)
    return reset(self, *arguments, **options)

TuneController._schedule_trial_reset = kill_and_reset
from tune.__main__ import main
sys.exit(main())
"""


def test_a_worker_that_dies_as_it_is_handed_a_trial_costs_nothing(tmp_path):
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE))
    command = [sys.executable, "-c", SCRIPT, str(SOURCE), "search", "--dataset", "digits", "--no-evaluate"]
    options = [
        "--space",
        "space.yaml",
        "--trials",
        "5",
        "--max-epochs",
        "4",
        "--name",
        "run",
        "--no-dashboard",
    ]
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, env=own_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "killed" in done.stdout
    assert "lost its worker before it began" in done.stderr
    run = RunDirectory(tmp_path / "runs" / "run")
    rows = sorted(read_table(run.trials_file).to_pylist(), key=lambda row: row["number"])
    assert len(rows) == 5
    assert {row["status"] for row in rows} <= {"completed", "stopped_early"}
    assert all(row["epochs"] and row["stop_reason"] in (None, "rung") for row in rows)
    assert [trial.state.name for trial in open_journal(run.path).trials] == [
        STATES[row["status"]] for row in rows
    ]
