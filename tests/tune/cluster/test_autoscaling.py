"""A search on a cluster without a single worker, whose autoscaler starts them for its trials."""

import json
import time

import pytest
import yaml

from tests.autoscaling import autoscaling_cluster
from tests.processes import start_tune
from tests.tune.conftest import SMALL_SPACE
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NODE_TYPES = {
    "spot": {"resources": {"CPU": 1, "GPU": 1}, "min_workers": 0, "max_workers": 1, "priority": 1},
    "on_demand": {"resources": {"CPU": 1, "GPU": 1}, "min_workers": 0, "max_workers": 4, "priority": 0},
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
    assert code == 2, f"{out}\n{err}"
    assert err.count("\n") == 1
    assert "2 CPUs and 0.25 GPUs on one node" in err
    assert "those that can be started have 1 CPUs and 1 GPUs" in err
    assert time.monotonic() - began < 180  # 12 s were seen, and four times that on a busy machine
    assert cluster.started() == []


def test_nodes_are_started_for_trials_and_run_them(cluster, tmp_path):
    budget = ("--trials", "4", "--max-epochs", "25", "--scheduler", "none")
    code, out, err = search(cluster, tmp_path, *budget)
    assert code == 0, f"{out}\n{err}"
    assert "waiting for the first node with a GPU" in out
    assert "not measured (torch can use none of the GPUs that Ray counts); 4 trials share a GPU" in out
    assert "room for 1 of the trials; the autoscaler starts more of them, for up to 2" in out
    assert cluster.started() == ["spot", "on_demand"]  # by priority, until there is no more of it
    run = RunDirectory(tmp_path / "runs" / "run")
    trials = read_table(run.trials_file).to_pylist()
    assert [row["status"] for row in trials] == ["completed"] * 4
    results = [json.loads(line) for file in run.ray_dir.rglob("result.json") for line in file.open()]
    assert len({result["pid"] for result in results}) == 2  # each node has room for one
    assert run.read_study().resources == {"cpus": 1.0, "gpus": 0.25, "slots": 2}
