"""How many trials fit."""

import pytest
import ray

from tune.cluster import resources as cluster
from tune.cluster.nodes import Nodes, NodeType
from tune.cluster.resources import _fit, trial_resources
from vae.errors import UsageError


def node(cpus, gpus=0):
    return {"Alive": True, "Resources": {"CPU": cpus, "GPU": gpus}}


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "fit"),
    [
        ({"CPU": 2}, 1, 0, 2),
        ({"CPU": 2}, 0.5, 0, 4),
        ({"CPU": 3}, 2, 0, 1),
        ({"CPU": 1.2}, 0.4, 0, 3),  # 1.2 / 0.4 is 2.9999… in floating point
        ({"CPU": 1}, 2, 0, 0),
        ({"CPU": 16, "GPU": 1}, 1, 0.25, 4),
        ({"CPU": 2, "GPU": 1}, 1, 0.25, 2),
        ({"CPU": 16, "GPU": 2}, 1, 0.3, 6),  # three on each, not six and two thirds
        ({"CPU": 16, "GPU": 4}, 1, 2, 2),
        ({"CPU": 16}, 1, 0.25, 0),
    ],
)
def test_trials_are_fitted_to_a_node(resources, cpus, gpus, fit):
    assert _fit(resources, cpus, gpus) == fit


@pytest.fixture
def nodes(monkeypatch):
    def use(*nodes):
        monkeypatch.setattr(ray, "nodes", lambda: list(nodes))

    return use


def test_gpus_are_shared_by_default_where_there_are_any(nodes):
    nodes(node(0), node(16, gpus=2))
    resources = trial_resources(None, None, None, n_trials=100)
    assert (resources.cpus, resources.gpus, resources.slots) == (1.0, 0.25, 8)


def test_without_gpus_every_cpu_has_a_trial(nodes):
    nodes(node(4), node(2), {"Alive": False, "Resources": {"CPU": 64}})
    resources = trial_resources(None, None, None, n_trials=100)
    assert (resources.gpus, resources.slots, resources.n_threads) == (0.0, 6, 1)


@pytest.mark.parametrize(("max_concurrent", "n_trials", "slots"), [(3, 100, 3), (None, 2, 2), (100, 100, 8)])
def test_there_are_no_more_slots_than_wanted(nodes, max_concurrent, n_trials, slots):
    nodes(node(8))
    assert trial_resources(1, 0, max_concurrent, n_trials).slots == slots


@pytest.fixture
def growing(monkeypatch):
    """Two machines with a GPU that the autoscaler could start, beside a head without CPUs."""
    gpu = NodeType("gpu", {"CPU": 4, "GPU": 1}, at_most=2)
    monkeypatch.setattr(cluster, "cluster_nodes", lambda: Nodes(({"CPU": 0},), (gpu,), 2))
    monkeypatch.setattr(cluster, "alive_nodes", lambda: ({"CPU": 0}, {"CPU": 4, "GPU": 1}))


def test_nodes_that_could_come_count(growing):
    resources = trial_resources(None, None, None, n_trials=100)
    assert (resources.gpus, resources.slots) == (0.25, 8)
    assert resources.slots_now() == 4
    shared = trial_resources(None, None, None, n_trials=100, gpu_share=0.5)
    assert (shared.gpus, shared.slots) == (0.5, 4)
    asked = trial_resources(None, 1, None, n_trials=100, gpu_share=0.5)
    assert (asked.gpus, asked.slots) == (1, 2)


def test_a_trial_that_no_node_could_ever_hold_is_refused(growing):
    with pytest.raises(UsageError, match="those that can be started have 4 CPUs and 1 GPUs; lower"):
        trial_resources(8, None, None, 1)


@pytest.mark.parametrize(("cpus", "gpus"), [(4, 0), (1, 0.5)])
def test_a_trial_that_no_node_can_hold_is_refused(nodes, cpus, gpus):
    nodes(node(2), node(3))  # five together, but a trial cannot be split
    with pytest.raises(UsageError, match=r"a trial needs .* the nodes have 2 CPUs and 0 GPUs, 3 CPUs"):
        trial_resources(cpus, gpus, None, 1)
