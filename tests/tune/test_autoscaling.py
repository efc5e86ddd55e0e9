"""A search on a cluster without a single worker, whose autoscaler starts them for its trials."""

import json
import time

import pytest
import yaml

from evaluation.run_directory import RunDirectory
from evaluation.tables import read_table
from tests.autoscaling import autoscaling_cluster
from tests.processes import start_tune
from tests.tune.conftest import SMALL_SPACE

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NODE_TYPES = {
    "spot": {"resources": {"CPU": 1}, "min_workers": 0, "max_workers": 1, "priority": 1},
    "on_demand": {"resources": {"CPU": 1}, "min_workers": 0, "max_workers": 4, "priority": 0},
}


@pytest.fixture(scope="module")
def cluster():
    with autoscaling_cluster(NODE_TYPES, max_workers=2) as cluster:
        yield cluster


def search(cluster, tmp_path, *arguments):
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE))
    command = ["search", "--dataset", "digits", "--space", "space.yaml", "--name", "run", "--no-evaluate"]
    process = start_tune(*command, "--address", cluster.address, *arguments, cwd=tmp_path)
    out, err = process.communicate(timeout=400)
    return process.returncode, out, err


def test_a_trial_that_no_node_could_ever_hold_is_refused_at_once(cluster, tmp_path):
    began = time.monotonic()
    code, out, err = search(cluster, tmp_path, "--trials", "1", "--cpus-per-trial", "2")
    assert code == 2, (out, err)
    assert err.count("\n") == 1
    assert "2 CPUs and 0 GPUs on one node" in err
    assert "those that can be started have 1 CPUs and 0 GPUs" in err
    assert time.monotonic() - began < 60  # 30 s, on a machine that has nothing else to do
    assert cluster.started() == []


def test_nodes_are_started_for_trials_and_run_them(cluster, tmp_path):
    budget = ("--trials", "4", "--max-epochs", "25", "--scheduler", "none")
    code, out, err = search(cluster, tmp_path, *budget)
    assert code == 0, (out, err)
    assert "room for 0 trials at once; the autoscaler starts more of them, for up to 2" in out
    assert sorted(cluster.started()) == ["on_demand", "spot"]  # not two of what has the lower priority
    run = RunDirectory(tmp_path / "runs" / "run")
    trials = read_table(run.trials_file).to_pylist()
    assert [row["status"] for row in trials] == ["completed"] * 4
    results = [json.loads(line) for file in run.ray_dir.rglob("result.json") for line in file.open()]
    assert len({result["pid"] for result in results}) == 2  # each node has room for one
    assert run.read_study()["resources"]["slots"] == 2
