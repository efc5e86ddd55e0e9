"""A search on a cluster without a single worker, whose autoscaler starts them for its trials."""

import json
import subprocess
import sys
import time

import pytest
import yaml

from tests.autoscaling import autoscaling_cluster
from tests.processes import SOURCE, own_environment, start_tune, wait_for
from tests.tune.conftest import SMALL_SPACE
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NODE_TYPES = {
    "spot": {"resources": {"CPU": 1, "GPU": 1}, "min_workers": 0, "max_workers": 1, "priority": 1},
    "on_demand": {"resources": {"CPU": 1, "GPU": 1}, "min_workers": 0, "max_workers": 4, "priority": 0},
}
SEARCH = ["search", "--dataset", "digits", "--space", "space.yaml", "--name", "run", "--no-evaluate"]


@pytest.fixture(scope="module")
def cluster():
    with autoscaling_cluster(NODE_TYPES, max_workers=2) as cluster:
        yield cluster


def search(cluster, tmp_path, *arguments):
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE))
    process = start_tune(*SEARCH, "--address", cluster.address, *arguments, cwd=tmp_path)
    out, err = process.communicate(timeout=400)
    return process.returncode, out, err


def test_a_trial_that_no_node_could_ever_hold_is_refused_at_once(cluster, tmp_path):
    began = time.monotonic()
    code, out, err = search(cluster, tmp_path, "--trials", "1", "--cpus-per-trial", "2")
    assert code == 2, f"{out}\n{err}"
    assert err.count("\n") == 1
    assert "2 CPUs and 0.25 GPUs on one node" in err
    assert "those that can be started have 1 CPUs and 1 GPUs" in err
    assert time.monotonic() - began < 180  # 12 s were seen, and four times that on a busy machine
    assert cluster.started() == []


def test_nodes_are_started_for_trials_and_run_them(cluster, tmp_path):
    """No trial trains before two have begun, however long a node takes to start."""
    log, begin = tmp_path / "log", tmp_path / "begin"
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE))
    (tmp_path / "deaths.json").write_text(json.dumps({"log": str(log), "waits_for": str(begin)}))
    command = [sys.executable, "-m", "tests.tune.deaths", "deaths.json", *SEARCH, "--scheduler", "none"]
    process = subprocess.Popen(
        [*command, "--trials", "4", "--max-epochs", "2", "--address", cluster.address],
        cwd=tmp_path,
        env=own_environment() | {"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: log.exists() and log.read_text().count("start") == 2, process, seconds=400)
    begin.touch()
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, f"{out}\n{err}"
    assert "waiting for the first node with a GPU" in out
    assert "not measured (torch can use none of the GPUs that Ray counts); 4 trials share a GPU" in out
    assert "room for 1 of the trials; the autoscaler starts more of them, for up to 2" in out
    assert cluster.started() == ["spot", "on_demand"]  # by priority, until there is no more of it
    run = RunDirectory(tmp_path / "runs" / "run")
    trials = read_table(run.trials_file).to_pylist()
    assert [row["status"] for row in trials] == ["completed"] * 4
    starts = [line.split() for line in log.read_text().splitlines() if line.startswith("start")]
    assert len({node for _, _, node, _ in starts[:2]}) == 2  # each has room for one
    assert run.read_study().resources == {"cpus": 1.0, "gpus": 0.25, "slots": 2}
