"""How many trials fit into the connected cluster, nodes included that its autoscaler would start."""

from collections import Counter
from dataclasses import dataclass

from tune.cluster.nodes import Nodes, Resources, alive_nodes, cluster_nodes
from vae.errors import UsageError

GPUS_PER_TRIAL = 0.25
"""Unless it is measured: small VAEs leave most of a GPU idle. Ray only keeps the books of it."""
CPUS_PER_TRIAL = 1.0


@dataclass(frozen=True, slots=True)
class TrialResources:
    """What one trial gets, and how many trials fit at once."""

    cpus: float
    gpus: float
    slots: int
    """In a cluster that has grown as far as it can: trials without a node are what makes it grow."""

    @property
    def n_threads(self) -> int:
        return max(1, int(self.cpus))

    def slots_now(self) -> int:
        """Return how many trials the nodes hold that are there."""
        return min(self.slots, sum(_fit(node, self.cpus, self.gpus) for node in alive_nodes()))


def trial_resources(
    cpus: float | None,
    gpus: float | None,
    max_concurrent: int | None,
    n_trials: int,
    *,
    gpu_share: float = GPUS_PER_TRIAL,
) -> TrialResources:
    """Fit trials into the connected cluster; None takes what the cluster has or could have.

    ``gpu_share`` is what a trial then gets of a GPU.

    Raises
    ------
    UsageError
        No node can hold a single trial.
    ClusterError
        The head does not answer.
    """
    nodes = cluster_nodes()
    cpus = CPUS_PER_TRIAL if cpus is None else cpus
    if gpus is None:
        gpus = gpu_share if nodes.gpus else 0.0
    slots = nodes.largest(lambda node: _fit(node, cpus, gpus))
    if slots == 0:
        raise UsageError(
            f"a trial needs {cpus:g} CPUs and {gpus:g} GPUs on one node, but {_offers(nodes)}; "
            "lower --cpus-per-trial or --gpus-per-trial"
        )
    return TrialResources(cpus, gpus, min(slots, n_trials, max_concurrent or slots))


def _fit(node: Resources, cpus: float, gpus: float) -> int:
    """Return how many trials fit on one node; a fraction of a GPU must come from a single device."""
    by_cpu = int(node.get("CPU", 0) / cpus + 1e-9) if cpus else float("inf")
    if not gpus:
        by_gpu = float("inf")
    elif gpus <= 1:
        by_gpu = int(node.get("GPU", 0)) * int(1 / gpus + 1e-9)
    else:
        by_gpu = int(node.get("GPU", 0) / gpus + 1e-9)
    fit = min(by_cpu, by_gpu)
    return int(fit) if fit != float("inf") else 0


def _offers(nodes: Nodes) -> str:
    """Describe the nodes, in words for an error."""
    have = Counter(map(_size, nodes.alive))
    text = "the nodes have " + ", ".join(f"{size} (x{n})" if n > 1 else size for size, n in have.items())
    could = dict.fromkeys(_size(node_type.resources) for node_type in nodes.types)
    return text + (f"; those that can be started have {', '.join(could)}" if could else "")


def _size(node: Resources) -> str:
    return f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs"
