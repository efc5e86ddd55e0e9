"""A cluster that grows: Ray's autoscaler with its simulated provider, whose machines are raylets here."""

import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from ray.autoscaler._private.fake_multi_node.node_provider import (
    FAKE_HEAD_NODE_ID,
    FAKE_HEAD_NODE_TYPE,
    FakeMultiNodeProvider,
)

from tests.processes import SOURCE, own_environment

OBJECT_STORE_BYTES = 100_000_000
NOT_USED = ("setup_commands", "head_setup_commands", "worker_setup_commands", "cluster_synced_files")
"""By the simulated provider; Ray asks for them."""

STARTS = 3
"""Ray gives its own processes 30 seconds to start, which a busy machine may need."""


@dataclass(frozen=True)
class AutoscalingCluster:
    """What a test needs of it."""

    address: str
    directory: Path

    def started(self) -> list[str]:
        """Return the types of the nodes that were started, in that order."""
        log = Path(self.directory, "session_latest", "logs", "monitor.log").read_text()
        launched = re.findall(r"Launched (\d+) nodes of type (\S+)\.", log)
        return [name for number, name in launched for _ in range(int(number))]


@contextlib.contextmanager
def autoscaling_cluster(
    node_types: dict[str, dict[str, Any]], *, max_workers: int, idle_seconds: float = 300.0
) -> Iterator[AutoscalingCluster]:
    """Start a head without CPUs; its autoscaler, version 2 as with `ray up`, starts nodes of these types.

    `ray.cluster_utils.AutoscalingCluster` would first stop all of Ray on this machine.
    """
    address = f"127.0.0.1:{_free_port()}"
    config = {
        "cluster_name": "simulated",
        "max_workers": max_workers,
        "idle_timeout_minutes": idle_seconds / 60,
        "provider": {
            "type": "external",  # of the type `fake_multinode` the wheel lacks the defaults
            "module": f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}",
            "head_node_id": FAKE_HEAD_NODE_ID,
            "gcs_address": address,
            "launch_multiple": True,
            "disable_node_updaters": True,  # there is nothing to install
        },
        "head_node_type": FAKE_HEAD_NODE_TYPE,
        "available_node_types": {
            FAKE_HEAD_NODE_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            **{name: {"node_config": {}, **node_type} for name, node_type in node_types.items()},
        },
        **{name: [] for name in NOT_USED},
    }
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as directory:
        file = Path(directory, "autoscaling.yaml")
        file.write_text(yaml.safe_dump(config))
        head = _start_head(address, file, directory)
        try:
            yield AutoscalingCluster(address, Path(directory))
        finally:
            processes = [head, *head.children(recursive=True)]  # the nodes are the autoscaler's children
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, timeout=30)


def _start_head(address: str, autoscaling: Path, directory: str) -> psutil.Popen:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    options = {
        "port": address.partition(":")[2],
        "ray-client-server-port": _free_port(),
        "num-cpus": 0,
        "num-gpus": 0,
        "object-store-memory": OBJECT_STORE_BYTES,
        "include-dashboard": "false",
        "dashboard-agent-listen-port": 0,
        "temp-dir": directory,
        "autoscaling-config": autoscaling,
    }
    environment = {
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "PYTHONPATH": str(SOURCE),
    }
    command += [f"--{name}={value}" for name, value in options.items()]
    log = Path(directory, "start.log")
    for _ in range(STARTS):
        with log.open("w") as output:
            head = psutil.Popen(
                command, env=own_environment() | environment, stdout=output, stderr=subprocess.STDOUT
            )
        while head.poll() is None:
            if "Ray runtime started" in log.read_text():
                return head
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
