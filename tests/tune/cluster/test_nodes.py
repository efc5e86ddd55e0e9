"""What the connected cluster has and could have."""

import pytest
import ray

from tune.cluster import nodes
from tune.cluster.nodes import HEAD, Nodes, NodeType, alive_nodes, cluster_nodes

HEAD_NODE = {"CPU": 0.0, HEAD: 1.0}
SPOT = NodeType("spot", {"CPU": 4, "GPU": 1}, at_most=4)
BIG = NodeType("big", {"CPU": 16, "GPU": 4}, at_most=1)


def gpus(node):
    return int(node.get("GPU", 0))


@pytest.mark.parametrize(
    ("alive", "types", "max_workers", "largest"),
    [
        ((HEAD_NODE,), (SPOT,), 4, 4),
        ((HEAD_NODE,), (SPOT,), 2, 2),  # so many workers of all types together
        ((HEAD_NODE, SPOT.resources), (SPOT,), 4, 4),  # what is there counts among them
        ((HEAD_NODE,), (SPOT, BIG), 2, 5),  # at most: the largest and another one
        ((HEAD_NODE,), (SPOT, BIG), 10, 8),
        ((HEAD_NODE | {"GPU": 2},), (SPOT,), 1, 3),  # the head stays
        ((HEAD_NODE, {"GPU": 8}, {"GPU": 8}), (SPOT,), 4, 16),  # nodes that the autoscaler has not started
        ((HEAD_NODE, {"GPU": 3}), (), 0, 3),
    ],
)
def test_a_cluster_grows_as_far_as_its_autoscaler_may(alive, types, max_workers, largest):
    cluster = Nodes(alive, types, max_workers)
    assert cluster.largest(gpus) == largest
    assert cluster.now(gpus) == sum(gpus(node) for node in alive)
    assert cluster.gpus


def test_cpus_are_those_that_are_there_or_else_of_the_smallest_node_to_come():
    assert Nodes((HEAD_NODE, {"CPU": 3.0}), (SPOT,), 4).cpus == 3
    assert Nodes((HEAD_NODE,), (BIG, SPOT, NodeType("no", {"GPU": 1}, 1)), 4).cpus == 4
    assert Nodes((HEAD_NODE,)).cpus == 0


@pytest.mark.parametrize(
    ("accelerator", "has_gpu"),
    [("M1", False), ("M3-Pro", False), ("M60", True), ("A100", True), ("T4", True)],
)
def test_the_gpu_of_a_mac_does_not_count(monkeypatch, accelerator, has_gpu):
    node = {"CPU": 8.0, "GPU": 1.0, f"accelerator_type:{accelerator}": 1.0}
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": node}])
    assert Nodes(alive_nodes()).gpus == has_gpu
    assert Nodes(alive_nodes()).cpus == 8


@pytest.mark.ray
def test_a_cluster_of_its_own_cannot_grow(ray_cluster):
    cluster = cluster_nodes()
    assert cluster.types == ()
    assert cluster.cpus == cluster.largest(lambda node: int(node.get("CPU", 0))) == 2


@pytest.mark.ray
def test_the_head_is_asked_where_it_is_another_node(ray_cluster, monkeypatch):
    context = ray.get_runtime_context()
    monkeypatch.setattr(type(context), "get_node_id", lambda self: "another")
    monkeypatch.setattr(nodes, "_read_autoscaler", lambda address: ((SPOT,), 7))
    cluster = cluster_nodes()
    assert (cluster.types, cluster.max_workers) == ((SPOT,), 7)


def test_what_the_autoscaler_of_a_cloud_reads_is_understood(tmp_path, monkeypatch):
    import yaml

    from tests.cluster.local_config import cloud_config

    config = cloud_config()
    config["available_node_types"]["spot_gpu"]["resources"] = {"CPU": 4, "GPU": 1}  # as `ray up` fills in
    file = tmp_path / "ray_bootstrap_config.yaml"
    file.write_text(yaml.safe_dump(config))
    monkeypatch.setattr(nodes, "_autoscaler_file", lambda address: str(file))
    (spot,), max_workers = nodes._read_autoscaler("127.0.0.1:6379")
    assert (spot.name, spot.resources, spot.at_most) == ("spot_gpu", {"CPU": 4, "GPU": 1}, 4)
    assert max_workers == config["max_workers"]


@pytest.mark.parametrize("text", ["", "cluster_name: [", "cluster_name: x"])
def test_a_file_that_cannot_be_read_is_told_and_costs_nothing_else(tmp_path, monkeypatch, caplog, text):
    file = tmp_path / "autoscaling.yaml"
    file.write_text(text)
    monkeypatch.setattr(nodes, "_autoscaler_file", lambda address: str(file))
    assert nodes._read_autoscaler("127.0.0.1:6379") == ((), 0)
    assert f"{file}, which the autoscaler reads, cannot be read" in caplog.text
