"""The nodes of the connected cluster: those that are there, and those that its autoscaler would start.

Ray 2.60 tells its programs what an autoscaler may start only where a vendor's has reported it
(`get_cluster_config` of its state; that of `ray up` does not). So we read the file that the autoscaler reads.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune.cluster.ray_private import autoscaler_config_reader
from vae.errors import ClusterError

logger = logging.getLogger(__name__)

ANSWER_WITHIN_S = 25.0
HEAD = "node:__internal_head__"
"""A resource that Ray gives to the head alone."""
CONFIG_OPTION = "--autoscaling-config="

Resources = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class NodeType:
    """What the autoscaler can start, and how many of it at most, those that are there included."""

    name: str
    resources: Resources
    at_most: int


@dataclass(frozen=True, slots=True)
class Nodes:
    """What the nodes of a cluster offer."""

    alive: tuple[Resources, ...]
    types: tuple[NodeType, ...] = ()
    """Empty where no autoscaler is at work, or none that can be asked."""
    max_workers: int = 0
    """Nodes of all types together."""

    @property
    def possible(self) -> tuple[Resources, ...]:
        """The nodes that are there and one of each type that could be started."""
        return (*self.alive, *(node_type.resources for node_type in self.types))

    def largest(self, fit: Callable[[Resources], int]) -> int:
        """Return how much fits once the cluster has grown as far as it can; ``fit`` says so of a node."""
        grown = sum(fit(node) for node in self.alive if HEAD in node)
        left = self.max_workers
        for node_type in sorted(self.types, key=lambda each: -fit(each.resources)):
            grown += min(left, node_type.at_most) * fit(node_type.resources)
            left -= min(left, node_type.at_most)
        return max(grown, self.now(fit))

    def now(self, fit: Callable[[Resources], int]) -> int:
        """Return how much fits on the nodes that are there."""
        return sum(fit(node) for node in self.alive)

    @property
    def cpus(self) -> int:
        """The CPUs that are there; where there are none yet, those of the smallest node that brings some."""
        cpus = [int(node_type.resources.get("CPU", 0)) for node_type in self.types]
        return self.now(lambda node: int(node.get("CPU", 0))) or min(filter(None, cpus), default=0)

    @property
    def gpus(self) -> bool:
        """Whether a node has a GPU, or one that could be started."""
        return any(node.get("GPU", 0) for node in self.possible)


def alive_nodes() -> tuple[Resources, ...]:
    """Return the resources of each node that is there, without the GPUs of Macs, which trials cannot use."""
    return tuple(_usable(node["Resources"]) for node in ray.nodes() if node["Alive"])


def _usable(resources: Resources) -> Resources:
    if any(_MAC.fullmatch(name) for name in resources):
        return {name: amount for name, amount in resources.items() if name != "GPU"}
    return resources


_MAC = re.compile(r"accelerator_type:M\d(-\w+)?")
"""The resource that Ray gives to a Mac, named after its chip, such as M1 or M3-Pro."""


def cluster_nodes() -> Nodes:
    """Return what the connected cluster has and could have.

    Raises
    ------
    ClusterError
        The head does not answer.
    """
    types, max_workers = _autoscaler()
    return Nodes(alive_nodes(), types, max_workers)


def _autoscaler() -> tuple[tuple[NodeType, ...], int]:
    heads = [node["NodeID"] for node in ray.nodes() if node["Alive"] and HEAD in node["Resources"]]
    if not heads:
        return (), 0
    context = ray.get_runtime_context()
    if heads == [context.get_node_id()]:
        return _read_autoscaler(context.gcs_address)
    there = NodeAffinitySchedulingStrategy(heads[0], soft=False)
    read: Any = ray.remote(num_cpus=0)(_read_autoscaler)
    try:
        answer: tuple[tuple[NodeType, ...], int] = ray.get(
            read.options(scheduling_strategy=there).remote(context.gcs_address), timeout=ANSWER_WITHIN_S
        )
    except ray.exceptions.RayError as error:
        raise ClusterError("the head of the Ray cluster does not answer; is it still there?") from error
    return answer


def _read_autoscaler(gcs_address: str) -> tuple[tuple[NodeType, ...], int]:
    """Return the types of workers, and how many may be there together, of the autoscaler on this machine."""
    file = _autoscaler_file(gcs_address)
    if file is None:
        return (), 0
    try:
        config = autoscaler_config_reader(file).get_cached_autoscaling_config()
    except Exception as error:  # whatever Ray's own reader finds wrong, the nodes that are there can be used
        logger.warning("%s, which the autoscaler reads, cannot be read: %s", file, error)
        return (), 0
    types = tuple(
        NodeType(name, each.resources, each.max_worker_nodes)
        for name, each in config.get_node_type_configs().items()
        # Of machines of one's own Ray knows nothing before they are there.
        if name != config.get_head_node_type() and each.max_worker_nodes and each.resources
    )
    return types, config.get_max_num_worker_nodes() or 0


def _autoscaler_file(gcs_address: str) -> str | None:
    """Return the file that the autoscaler of a cluster was started with, here on its head."""
    for process in psutil.process_iter(["cmdline"]):
        arguments = process.info["cmdline"] or []
        if f"--gcs-address={gcs_address}" in arguments:
            for argument in arguments:
                if argument.startswith(CONFIG_OPTION):
                    return str(argument.removeprefix(CONFIG_OPTION))
    return None
