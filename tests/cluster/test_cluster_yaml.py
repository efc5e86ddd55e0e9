"""`cluster.yaml` and its variants in docs/cluster.md pass the check of `ray up`, and say what they must."""

import copy
import re

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.cluster import steps
from tests.cluster.local_config import (
    CLOUD_ONLY,
    CLUSTER_FILE,
    ROOT,
    cloud_config,
    on_premises,
    with_worker_options,
)
from tests.test_lock import locked

PAGE = (ROOT / "docs" / "cluster.md").read_text()


@pytest.fixture
def config():
    return cloud_config()


def check(config):
    """Raise as `ray up` does before it asks the cloud for anything."""
    validate_config(prepare_config(copy.deepcopy(config)))


def variant_of_the_page(provider):
    """Return the page's YAML block for a provider."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    found = [yaml.safe_load(block) for block in blocks]
    return next(block for block in found if block.get("provider", {}).get("type") == provider)


def test_ray_accepts_it(config):
    check(config)


@pytest.mark.parametrize(
    "place",
    [(), ("docker",), ("auth",), ("available_node_types", "spot_gpu")],
    ids=lambda place: ".".join(place),
)
def test_a_typing_error_is_found(config, place):
    section = config
    for name in place:
        section = section[name]
    section["idle_timeout_minute"] = 10
    with pytest.raises(ValidationError, match="idle_timeout_minute"):
        check(config)


def test_more_workers_at_least_than_at_most_are_refused(config):
    config["available_node_types"]["spot_gpu"]["min_workers"] = config["max_workers"] + 1
    with pytest.raises(ValueError, match="max_workers"):
        check(config)


def test_the_images_have_the_locked_ray_and_a_python_that_the_project_runs_on(config):
    [(ray_version, _)] = locked()["ray"]
    assert config["docker"]["image"] == f"rayproject/ray:{ray_version}-py311-gpu"
    assert config["docker"]["head_image"] == f"rayproject/ray:{ray_version}-py311-cpu"


def test_the_head_runs_no_trials(config):
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}
    start = config["head_start_ray_commands"][-1]
    assert "--num-cpus=0 --num-gpus=0" in start


def test_workers_are_spot_machines_with_others_to_fall_back_on(config):
    spot, other = (config["available_node_types"][name] for name in ("spot_gpu", "on_demand_gpu"))
    assert spot["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert other["node_config"] | {"InstanceMarketOptions": {"MarketType": "spot"}} == spot["node_config"]
    assert spot["priority"] > other["priority"]
    assert 0 < spot["min_workers"] <= spot["max_workers"] <= config["max_workers"]
    assert other["min_workers"] == 0 < other["max_workers"]
    assert config["idle_timeout_minutes"] > 0
    assert config["provider"]["cache_stopped_nodes"] is False


def test_workers_watch_for_the_notice_that_a_spot_machine_is_taken(config):
    watch, start = config["worker_start_ray_commands"][-2:]
    assert "python -m tune.spot_notice" in watch
    assert "ray start" in start
    assert watch.endswith("&)"), "it must not wait for the end of the watch"


def test_every_machine_has_a_security_group_and_a_profile_of_the_users_own(config):
    for node_type in config["available_node_types"].values():
        assert node_type["node_config"]["SecurityGroupIds"]
        assert node_type["node_config"]["IamInstanceProfile"]


def test_what_a_user_edits_is_at_the_top(config):
    """The block of anchors comes first, and what it names is used below it and not spelled out again."""
    text = CLUSTER_FILE.read_text()
    top, _, below = text.partition("\ncluster_name:")
    assert next(iter(config)) == "metadata"
    anchors = re.findall(r"&(\w+)", top)
    assert len(anchors) == len(config["metadata"])
    for anchor in anchors:
        assert f"*{anchor}" in below, anchor
    for placeholder in ("sg-0", "ami-0"):
        assert placeholder not in below


def test_what_is_installed_from_is_sent(config):
    sent = {str(local) for local in config["file_mounts"].values()}
    for needed in ("vae", "tune", "evaluation", "Makefile", "pyproject.toml", "requirements.lock"):
        assert needed in sent
    for local in sent - {"~/.ray/auth_token"}:
        assert (ROOT / local).exists(), local
    assert "make -C ~/vae-search install" in config["setup_commands"]


def test_ports_are_guarded(config):
    assert "chmod 600 ~/.ray/auth_token" in config["setup_commands"]
    assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])
    start = config["head_start_ray_commands"][-1]
    assert "--dashboard-host=127.0.0.1" in start
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert "--metrics-export-port=8080" in commands[-1]


def test_the_cluster_test_runs_its_steps(config):
    """What is really brought up differs in what the page names, and in the logical GPUs."""
    local = with_worker_options(on_premises(config, variant_of_the_page("local")), "--num-gpus=1")
    same = set(config) - set(CLOUD_ONLY) - {"provider", "auth", "worker_start_ray_commands"}
    assert {"setup_commands", "head_start_ray_commands", "file_mounts"} <= same
    assert {name: local[name] for name in same} == {name: config[name] for name in same}
    assert local["worker_start_ray_commands"] == [
        *config["worker_start_ray_commands"][:-1],
        config["worker_start_ray_commands"][-1] + " --num-gpus=1",
    ]


def test_the_variant_for_ones_own_machines_is_accepted(config):
    check(on_premises(config, variant_of_the_page("local")))
    for name in CLOUD_ONLY:
        assert f"`{name}`" in PAGE


def test_the_variant_for_gcp_is_accepted(config):
    gcp = config | variant_of_the_page("gcp")
    check(gcp)
    head = gcp["available_node_types"][gcp["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    workers = [value for name, value in gcp["available_node_types"].items() if name != gcp["head_node_type"]]
    assert all(worker["resources"]["GPU"] for worker in workers)


@pytest.mark.parametrize("step", [name for name in vars(steps) if name.isupper()])
def test_the_steps_of_the_cluster_test_are_those_of_the_page(step):
    assert getattr(steps, step) in PAGE
