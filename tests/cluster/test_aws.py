"""What `ray up` asks of AWS with `cluster.yaml`, put to a stand-in for AWS."""

import copy

import boto3
import moto
import pytest
import yaml
from ray.autoscaler import tags
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.cluster.local_config import CLUSTER_FILE

REGION = "us-west-2"


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """One machine of each type, by name, as EC2 describes it, and the security groups."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch, moto.mock_aws():
        monkeypatch.setenv("HOME", str(home))  # Ray keeps the key pair that it makes in ~/.ssh
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "none")
        ec2, iam = boto3.client("ec2", region_name=REGION), boto3.client("iam", region_name=REGION)
        group = ec2.create_security_group(GroupName="vae-search", Description="Ray")["GroupId"]
        image = ec2.describe_images()["Images"][0]["ImageId"]
        for name in ("vae-search-head", "vae-search-worker"):
            iam.create_instance_profile(InstanceProfileName=name)
        text = CLUSTER_FILE.read_text()
        text = text.replace("sg-00000000000000000", group).replace("ami-00000000000000000", image)
        config = prepare_config(yaml.safe_load(text))
        config = AWSNodeProvider.fillout_available_node_types_resources(config)
        validate_config(config)
        config = AWSNodeProvider.bootstrap_config(config)
        provider = AWSNodeProvider(config["provider"], config["cluster_name"])
        machines = {}
        for name, node_type in config["available_node_types"].items():
            labels = {
                tags.TAG_RAY_NODE_KIND: "head" if name == config["head_node_type"] else "worker",
                tags.TAG_RAY_NODE_NAME: name,
                tags.TAG_RAY_NODE_STATUS: tags.STATUS_UNINITIALIZED,
                tags.TAG_RAY_USER_NODE_TYPE: name,
                tags.TAG_RAY_LAUNCH_CONFIG: name,
            }
            [made] = provider.create_node(copy.deepcopy(node_type["node_config"]), labels, 1)
            [machine] = ec2.describe_instances(InstanceIds=[made])["Reservations"][0]["Instances"]
            machines[name] = machine | {"resources": node_type["resources"]}
        yield machines, ec2.describe_security_groups()["SecurityGroups"]


def test_ray_launches_the_machines_that_it_says(launched):
    machines, _ = launched
    assert {name: machine.get("InstanceLifecycle") for name, machine in machines.items()} == {
        "head": None,
        "spot_gpu": "spot",
        "on_demand_gpu": None,
    }
    profiles = {
        name: machine["IamInstanceProfile"]["Arn"].rpartition("/")[2] for name, machine in machines.items()
    }
    assert profiles == {
        "head": "vae-search-head",
        "spot_gpu": "vae-search-worker",
        "on_demand_gpu": "vae-search-worker",
    }


def test_ray_knows_what_each_machine_has(launched):
    machines, _ = launched
    assert machines["head"]["resources"] == {"CPU": 0}
    for name in ("spot_gpu", "on_demand_gpu"):
        assert machines[name]["resources"]["GPU"] == 1
        assert machines[name]["resources"]["CPU"] == 4


def test_ray_opens_nothing_to_the_world(launched):
    machines, groups = launched
    used = {group["GroupId"] for machine in machines.values() for group in machine["SecurityGroups"]}
    for group in groups:
        if group["GroupId"] in used:
            assert "0.0.0.0/0" not in str(group["IpPermissions"])
    assert not any(group["GroupName"].startswith("ray-autoscaler") for group in groups)
