"""What is counted as a failure of a trial, what is said of it, and where it is tried again."""

import pickle

import pytest
from ray.exceptions import ActorUnavailableError, RayTaskError
from ray.util.placement_group import NODE_ID_LABEL_KEY

from tests.tune.conftest import FakeTrial
from tune.callbacks import failures as module
from tune.callbacks.failures import LOOK_EVERY_S, FailureTracker

ACTORS = {name * 32: f"{name}-node" for name in "abc"}


class Nodes(dict):
    """Node id -> its CPUs; those that are there."""

    def __call__(self):
        return [
            {
                "NodeID": node_id,
                "NodeManagerHostname": f"host-{node_id}",
                "Alive": True,
                "Resources": {"CPU": n},
            }
            for node_id, n in self.items()
        ]


@pytest.fixture
def nodes(monkeypatch):
    nodes = Nodes({node_id: 1.0 for node_id in ACTORS.values()} | {"head": 0.0})
    monkeypatch.setattr(module.ray, "nodes", nodes)
    monkeypatch.setattr(module, "actors", lambda actor: {"Address": {"NodeID": ACTORS[actor]}})
    return nodes


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def losses(nodes, clock):
    return FailureTracker(clock=clock)


@pytest.fixture
def trial(tmp_path):
    return FakeTrial("ray-0", {"trial_id": "0000-fc-4d"}, pickled_error_file=str(tmp_path / "error.pkl"))


def fail(losses, trial, node, error=None):
    """What Tune and Ray do when the worker on a node dies or raises."""
    error = error or ActorUnavailableError("it is gone. Some common causes include: many", None)
    error.actor_id = error._actor_id = node * 32
    with open(trial.pickled_error_file, "wb") as file:
        pickle.dump(error, file)
    trial.run_metadata.num_failures += 1
    recovers = trial.run_metadata.num_failures <= trial.max_failures
    trial.status = "ERROR" if recovers else "RUNNING"
    losses.record(trial)
    trial.status = "PENDING" if recovers else "ERROR"
    return recovers


def start(losses, trial):
    trial.status = "RUNNING"
    losses.on_trial_start(0, [trial], trial)


def report(losses, trial, epoch):
    losses.on_trial_result(0, [trial], trial, {"epoch": epoch})


def avoided(trial):
    selectors = trial.placement_group_factory._bound.arguments.get("bundle_label_selector")
    return selectors[0][NODE_ID_LABEL_KEY] if selectors else None


def test_a_new_epoch_makes_good_for_all_failures_before(losses, trial):
    for epoch in range(1, 20):
        start(losses, trial)
        assert fail(losses, trial, "a")
        start(losses, trial)
        report(losses, trial, epoch)
        assert losses.count("0000-fc-4d") == 0
        assert fail(losses, trial, "b")


def test_an_epoch_that_is_trained_again_makes_good_for_nothing(losses, trial):
    start(losses, trial)
    report(losses, trial, 1)
    for recovers in (True, True, False):
        assert fail(losses, trial, "a") is recovers
        start(losses, trial)
        report(losses, trial, 1)


def test_the_count_goes_on_in_the_next_run_of_tune(losses, trial):
    start(losses, trial)
    fail(losses, trial, "a")
    again = FakeTrial("ray-1", trial.config, pickled_error_file=trial.pickled_error_file)
    start(losses, again)
    assert fail(losses, again, "a")
    assert not fail(losses, again, "a")


def test_the_end_says_how_often_where_and_how_at_last(losses, trial):
    for node in "aba":
        fail(losses, trial, node)
    told = losses.failure_message("0000-fc-4d")
    assert told.startswith(
        "its worker died 3 times in a row on host-a-node and host-b-node, last: ActorUnavail"
    )
    assert told.endswith("unavailable: it is gone.")
    assert losses.host("0000-fc-4d") == "host-a-node"


def test_what_was_raised_is_told_as_such(losses, trial):
    for _ in range(3):
        fail(losses, trial, "a", RayTaskError("step", "Traceback", ValueError("no such\nthing")))
    assert (
        losses.failure_message("0000-fc-4d")
        == "it failed 3 times in a row on host-a-node, last: ValueError: thing"
    )


def test_a_trial_that_dies_at_once_is_tried_on_another_node(losses, trial, caplog):
    start(losses, trial)
    fail(losses, trial, "b")
    assert avoided(trial) == "!in(b-node)"
    assert "0000-fc-4d failed on host-b-node before its first epoch there" in caplog.text
    start(losses, trial)
    fail(losses, trial, "a")
    assert avoided(trial) == "!in(a-node,b-node)"


def test_a_node_on_which_it_has_trained_is_not_avoided(losses, trial):
    start(losses, trial)
    report(losses, trial, 1)
    fail(losses, trial, "b")
    assert avoided(trial) is None


def test_without_another_node_it_is_tried_where_it_died(losses, trial, nodes):
    del nodes["b-node"], nodes["c-node"]
    start(losses, trial)
    fail(losses, trial, "a")
    assert avoided(trial) is None
    assert trial.placement_group_factory.bundles == [{"CPU": 1}]


def test_a_trial_whose_other_nodes_are_gone_does_not_wait_for_ever(losses, trial, nodes, clock):
    start(losses, trial)
    fail(losses, trial, "a")
    clock.now += LOOK_EVERY_S
    assert losses.unschedulable() == []
    del nodes["b-node"], nodes["c-node"]
    assert losses.unschedulable() == [], "it looks now and then"
    clock.now += LOOK_EVERY_S
    assert losses.unschedulable() == [trial]
    assert losses.is_unschedulable("0000-fc-4d")
    clock.now += LOOK_EVERY_S
    assert losses.unschedulable() == []


def test_a_trial_that_has_begun_elsewhere_does_not_wait(losses, trial, nodes, clock):
    start(losses, trial)
    fail(losses, trial, "a")
    start(losses, trial)
    del nodes["b-node"], nodes["c-node"]
    clock.now += LOOK_EVERY_S
    assert losses.unschedulable() == []
