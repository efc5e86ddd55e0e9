"""Ray for the project's commands: starting or joining a cluster, and what its nodes can hold."""

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ray
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

from tune.joining import check_cluster
from vae.errors import ClusterError, UserError

SOURCE = Path(__file__).resolve().parent.parent
TOKEN = Path.home() / ".ray" / "auth_token"
PACKAGES = ("vae", "evaluation", "tune")

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


@contextlib.contextmanager
def ray_session(address: str | None = None, *, dashboard: bool = True) -> Iterator[str | None]:
    """Start a local cluster or join the one at ``address``, and leave it at the end; yields its dashboard.

    A local one starts faster without its ``dashboard``, which is ten processes.

    Raises
    ------
    UserError
        There is no cluster at the address that this process can join.
    ClusterError
        None starts on this machine.
    """
    if address is None and ray.is_initialized():  # called from a program that has its own
        yield None
        return
    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns that the ports are guarded
    address = address or os.environ.get("RAY_ADDRESS")  # set inside a Ray job
    _protect_token(make=address is None)
    if address is None:
        # Inherited by the raylet and so by every worker: `import vae` works whatever the working directory.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
        try:
            context = ray.init(
                "local",  # not the cluster of somebody else on this machine
                dashboard_host="127.0.0.1",
                include_dashboard=dashboard,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # Ray raises a plain one when its processes are too slow
            raise ClusterError(
                f"Ray did not start on this machine ({str(error).splitlines()[0]}); try again when it is "
                "less busy; Ray's own logs say more"
            ) from error
    else:
        # To a cluster at an address, Ray sends its token only when told to, here in the way of `ray status`.
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        found = check_cluster(address)
        try:
            context = ray.init(
                found,
                log_to_driver=False,
                logging_level=logging.ERROR,
                # Other nodes have the dependencies, not necessarily this source.
                runtime_env={"py_modules": [str(SOURCE / package) for package in PACKAGES]},
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"the Ray cluster at '{address}' cannot be joined ({str(error).splitlines()[0]})"
            ) from error
    try:
        yield f"http://{context.dashboard_url}" if context.dashboard_url else None
    finally:
        ray.shutdown()


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


def _protect_token(*, make: bool) -> None:
    """Keep Ray's token, the only lock on its ports, from being read by others; Ray makes it mode 0644.

    If there is none, ``make`` one; another cluster would not know it.
    """
    with contextlib.suppress(OSError):
        TOKEN.parent.mkdir(mode=0o700, exist_ok=True)
        if TOKEN.exists():
            TOKEN.chmod(0o600)
        elif make and "RAY_AUTH_TOKEN" not in os.environ and "RAY_AUTH_TOKEN_PATH" not in os.environ:
            with open(os.open(TOKEN, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
