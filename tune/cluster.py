"""How many trials the nodes of the connected cluster can hold."""

from dataclasses import dataclass

import ray

from vae.errors import UserError

# Small VAEs leave most of a GPU idle, so four share one. Ray only keeps the books: nothing limits memory.
GPUS_PER_TRIAL = 0.25
CPUS_PER_TRIAL = 1.0


@dataclass(frozen=True, slots=True)
class TrialResources:
    """What one trial gets, and how many trials fit at once."""

    cpus: float
    gpus: float
    slots: int

    @property
    def n_threads(self) -> int:
        return max(1, int(self.cpus))


def trial_resources(
    cpus: float | None, gpus: float | None, max_concurrent: int | None, n_trials: int
) -> TrialResources:
    """Fit trials into the connected cluster; None takes what the cluster has.

    Raises
    ------
    UserError
        No node can hold a single trial.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = CPUS_PER_TRIAL if cpus is None else cpus
    if gpus is None:
        gpus = GPUS_PER_TRIAL if any(node.get("GPU", 0) for node in nodes) else 0.0
    slots = sum(_fit(node, cpus, gpus) for node in nodes)
    if slots == 0:
        largest = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise UserError(
            f"a trial needs {cpus:g} CPUs and {gpus:g} GPUs on one node, but the nodes have {largest}; "
            "lower --cpus-per-trial or --gpus-per-trial"
        )
    return TrialResources(cpus, gpus, min(slots, n_trials, max_concurrent or slots))


def _fit(node: dict[str, float], cpus: float, gpus: float) -> int:
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
