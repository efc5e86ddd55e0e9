import pickle

import pytest
import ray

from tests.tune.conftest import KNN, FakeTrial, budget_of
from tune.callbacks.failures import FailureTracker
from tune.callbacks.recorder import Recorder
from tune.cluster import shared_storage
from tune.cluster.shared_storage import NotShared, check_shared
from tune.storage.run_directory import RunDirectory
from tune.study.study_tables import StudyTables
from tune.trials import trainable
from vae.errors import ClusterError

pytestmark = pytest.mark.ray


@pytest.fixture
def two_nodes(ray_cluster, monkeypatch):
    """The one node of the cluster twice."""
    nodes = ray.nodes() * 2
    monkeypatch.setattr(shared_storage.ray, "nodes", lambda: nodes)
    return nodes


def left_in(path):
    return [file.name for file in path.iterdir()]


def test_nodes_that_see_the_run_directory_may_run_trials(two_nodes, tmp_path):
    check_shared(RunDirectory(tmp_path))
    assert left_in(tmp_path) == []


def test_a_node_that_does_not_see_it_is_named_with_the_way_out(two_nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(shared_storage, "_file_exists", lambda file: False)
    name = two_nodes[0]["NodeManagerHostname"]
    with pytest.raises(NotShared, match=f"the node {name} does not see {tmp_path}.*s3://bucket/prefix"):
        check_shared(RunDirectory(tmp_path))
    assert left_in(tmp_path) == []


def test_a_node_that_does_not_answer_is_named(two_nodes, tmp_path, monkeypatch):
    gone = two_nodes[0] | {"NodeID": "e" * 56, "NodeManagerHostname": "gone"}
    monkeypatch.setattr(shared_storage.ray, "nodes", lambda: [two_nodes[0], gone])
    monkeypatch.setattr(shared_storage, "ANSWER_WITHIN_S", 5.0)
    with pytest.raises(ClusterError, match="the node gone does not tell whether it sees"):
        check_shared(RunDirectory(tmp_path))


def test_one_node_is_not_asked(ray_cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(shared_storage.ray, "remote", None)
    check_shared(RunDirectory(tmp_path))


def test_a_single_node_that_is_not_the_drivers_is_asked(two_nodes, tmp_path, monkeypatch):
    head = two_nodes[0] | {"NodeID": ray.get_runtime_context().get_node_id(), "Resources": {}}
    monkeypatch.setattr(shared_storage.ray, "nodes", lambda: [head, two_nodes[1]])
    other = "f" * 56
    context = ray.get_runtime_context()
    monkeypatch.setattr(type(context), "get_node_id", lambda self: other)
    monkeypatch.setattr(shared_storage, "_file_exists", lambda file: False)
    with pytest.raises(NotShared):
        check_shared(RunDirectory(tmp_path))


def test_a_node_that_joins_later_and_does_not_see_it_ends_the_search(tmp_path, monkeypatch):
    class Context:
        def get_trial_dir(self):
            return "runs/run/ray/0000"

    monkeypatch.setattr(trainable, "get_context", Context)
    with (
        pytest.raises(NotShared, match="does not see runs/run/ray/0000") as raised,
        trainable._on_shared_storage(),
    ):
        raise RuntimeError("Unable to set up cluster storage with the following settings: …")
    with pytest.raises(RuntimeError, match="another"), trainable._on_shared_storage():
        raise RuntimeError("another")

    (tmp_path / "error.pkl").write_bytes(pickle.dumps(raised.value))
    trial = FakeTrial(
        "ray-0",
        {"trial_id": "0000-fc-4d", "number": 0, "params": {"seed": 1, "max_epochs": 3}},
        pickled_error_file=str(tmp_path / "error.pkl"),
    )
    trial.run_metadata.num_failures = 3
    tables = StudyTables(RunDirectory(tmp_path), [KNN], budget=budget_of(3))
    recorder = Recorder(tables, FailureTracker(), tell=lambda *_: None, cutoff_of=lambda _: None)
    with pytest.raises(NotShared):
        recorder.on_trial_error(0, [trial], trial)
    assert isinstance(recorder.error, NotShared)
