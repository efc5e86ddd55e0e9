"""Whether the trials of a cluster of several nodes find the run directory where the driver has made it."""

import tempfile
from pathlib import Path
from typing import Any, Self

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune.storage.run_directory import RunDirectory
from vae.errors import ClusterError, UsageError

ANSWER_WITHIN_S = 25.0


class NotShared(UsageError):
    """Trials on another node would write into another directory of the same name."""

    @classmethod
    def for_node(cls, node: str, directory: str) -> Self:
        return cls(
            f"the node {node} does not see {directory}, where its trials would write; on a cluster of "
            "several nodes --storage must be a directory that all of them share, or a URI such as s3://bucket/prefix"
        )


def check_shared(run: RunDirectory) -> None:
    """Ask every node of the connected cluster that can run trials for a file of the run directory.

    A run under a URI needs no check, nor does a cluster whose trials run where the driver does. On nodes
    that the autoscaler starts later the trials find out, see `tune.trials.trainable`.

    Raises
    ------
    NotShared
        A node does not see the directory.
    ClusterError
        A node does not answer.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
    own = [ray.get_runtime_context().get_node_id()]
    if run.mirror or [node["NodeID"] for node in nodes] in ([], own):
        return
    exists: Any = ray.remote(num_cpus=0, max_retries=0)(_file_exists)
    with tempfile.NamedTemporaryFile(prefix=".shared-", dir=run.path) as marker:
        asked: dict[Any, str] = {}
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            answer = exists.options(scheduling_strategy=there).remote(marker.name)
            asked[answer] = node["NodeManagerHostname"]
        done, silent = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_WITHIN_S)
        for answer in done:
            try:
                if not ray.get(answer):
                    raise NotShared.for_node(asked[answer], str(run.path))
            except ray.exceptions.RayError:
                silent.append(answer)
    if silent:
        raise ClusterError(
            f"the node {asked[silent[0]]} does not tell whether it sees {run.path}; is it still there?"
        )


def _file_exists(file: str) -> bool:
    return Path(file).exists()
