"""A Ray cluster of several nodes on this machine, in a process of its own; nodes can be killed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from tests.processes import SOURCE, own_environment

QUICK = {
    "RAY_AUTH_MODE": "token",
    # A dead node is soon known to be dead.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
}


@dataclass(frozen=True)
class Node:
    """A node that runs trials, and the process that is its raylet."""

    node_id: str
    pid: int

    def kill(self) -> None:
        """Kill all of its processes at once, as when a machine loses its power."""
        raylet = psutil.Process(self.pid)
        for process in [raylet, *raylet.children(recursive=True)]:
            process.kill()


@dataclass(frozen=True)
class SimulatedCluster:
    """Where it answers, and its nodes beside a head that runs no trials."""

    address: str
    nodes: list[Node]


@contextmanager
def simulated_cluster(n_nodes: int) -> Iterator[SimulatedCluster]:
    """Start a cluster of nodes with one CPU each."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.simulated_cluster", str(n_nodes)],
        cwd=SOURCE,
        env=own_environment() | QUICK,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        found = next(json.loads(line) for line in process.stdout if line.startswith("{"))
        yield SimulatedCluster(found["address"], [Node(*node) for node in found["nodes"]])
    finally:
        process.stdin.close()
        process.wait()


def main() -> None:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "dashboard_agent_listen_port": 0}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(int(sys.argv[1]))]
    pids = [node.all_processes["raylet"][0].process.pid for node in nodes]
    state = {
        "address": cluster.address,
        "nodes": [[node.node_id, pid] for node, pid in zip(nodes, pids, strict=True)],
    }
    print(json.dumps(state), flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
