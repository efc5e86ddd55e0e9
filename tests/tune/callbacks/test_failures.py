"""What is counted as a failure of a trial, what is said of it, and where it is tried again."""

import pickle

import pytest
from ray.exceptions import ActorUnavailableError, RayTaskError
from ray.util.placement_group import NODE_ID_LABEL_KEY

from tests.tune.conftest import FakeTrial
from tune.callbacks import failures as module
from tune.callbacks.failures import CHECK_EVERY_S, FailureTracker

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


@pytest.fixture
def failures(nodes, clock):
    return FailureTracker(clock=clock)


@pytest.fixture
def trial(tmp_path):
    return FakeTrial("ray-0", {"trial_id": "0000-fc-4d"}, pickled_error_file=str(tmp_path / "error.pkl"))


def fail(failures, trial, node, error=None):
    """What Tune and Ray do when the worker on a node dies or raises."""
    error = error or ActorUnavailableError("it is gone. Some common causes include: many", None)
    error.actor_id = error._actor_id = node * 32
    with open(trial.pickled_error_file, "wb") as file:
        pickle.dump(error, file)
    trial.run_metadata.num_failures += 1
    recovers = trial.run_metadata.num_failures <= trial.max_failures
    trial.status = "ERROR" if recovers else "RUNNING"
    failures.record(trial)
    trial.status = "PENDING" if recovers else "ERROR"
    return recovers


def start(failures, trial):
    trial.status = "RUNNING"
    failures.on_trial_start(0, [trial], trial)


def report(failures, trial, epoch):
    failures.on_trial_result(0, [trial], trial, {"images": epoch})


def avoided(trial):
    selectors = trial.placement_group_factory._bound.arguments.get("bundle_label_selector")
    return selectors[0][NODE_ID_LABEL_KEY] if selectors else None


def test_a_new_epoch_makes_good_for_all_failures_before(failures, trial):
    for epoch in range(1, 20):
        start(failures, trial)
        assert fail(failures, trial, "a")
        start(failures, trial)
        report(failures, trial, epoch)
        assert failures.count("0000-fc-4d") == 0
        assert fail(failures, trial, "b")


def test_an_epoch_that_is_trained_again_makes_good_for_nothing(failures, trial):
    start(failures, trial)
    report(failures, trial, 1)
    for recovers in (True, True, False):
        assert fail(failures, trial, "a") is recovers
        start(failures, trial)
        report(failures, trial, 1)


def test_the_count_goes_on_in_the_next_run_of_tune(failures, trial):
    start(failures, trial)
    fail(failures, trial, "a")
    again = FakeTrial("ray-1", trial.config, pickled_error_file=trial.pickled_error_file)
    start(failures, again)
    assert fail(failures, again, "a")
    assert not fail(failures, again, "a")


def test_the_end_says_how_often_where_and_how_at_last(failures, trial):
    for node in "aba":
        fail(failures, trial, node)
    message = failures.failure_message("0000-fc-4d")
    assert message.startswith(
        "its worker died 3 times in a row on host-a-node and host-b-node, last: ActorUnavail"
    )
    assert message.endswith("unavailable: it is gone.")
    assert failures.host("0000-fc-4d") == "host-a-node"


def test_what_was_raised_is_told_as_such(failures, trial):
    for _ in range(3):
        fail(failures, trial, "a", RayTaskError("step", "Traceback", ValueError("no such\nthing")))
    assert (
        failures.failure_message("0000-fc-4d")
        == "it failed 3 times in a row on host-a-node, last: ValueError: thing"
    )


def test_a_trial_that_dies_at_once_is_tried_on_another_node(failures, trial, caplog):
    start(failures, trial)
    fail(failures, trial, "b")
    assert avoided(trial) == "!in(b-node)"
    assert "0000-fc-4d failed on host-b-node before its first report there" in caplog.text
    start(failures, trial)
    fail(failures, trial, "a")
    assert avoided(trial) == "!in(a-node,b-node)"


def test_a_node_on_which_it_has_trained_is_not_avoided(failures, trial):
    start(failures, trial)
    report(failures, trial, 1)
    fail(failures, trial, "b")
    assert avoided(trial) is None


def test_without_another_node_it_is_tried_where_it_died(failures, trial, nodes):
    del nodes["b-node"], nodes["c-node"]
    start(failures, trial)
    fail(failures, trial, "a")
    assert avoided(trial) is None
    assert trial.placement_group_factory.bundles == [{"CPU": 1}]


def test_a_trial_whose_other_nodes_are_gone_does_not_wait_for_ever(failures, trial, nodes, clock):
    start(failures, trial)
    fail(failures, trial, "a")
    clock.now += CHECK_EVERY_S
    assert failures.unschedulable() == []
    del nodes["b-node"], nodes["c-node"]
    assert failures.unschedulable() == [], "it looks now and then"
    clock.now += CHECK_EVERY_S
    assert failures.unschedulable() == [trial]
    assert failures.is_unschedulable("0000-fc-4d")
    clock.now += CHECK_EVERY_S
    assert failures.unschedulable() == []


def test_a_trial_that_has_begun_elsewhere_does_not_wait(failures, trial, nodes, clock):
    start(failures, trial)
    fail(failures, trial, "a")
    start(failures, trial)
    del nodes["b-node"], nodes["c-node"]
    clock.now += CHECK_EVERY_S
    assert failures.unschedulable() == []
