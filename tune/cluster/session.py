"""Ray for the project's commands: start a cluster on this machine, or join one."""

import contextlib
import functools
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import ray
import torch

from tune.cluster.dashboard_job import job_config, listed
from tune.cluster.environment import ray_environment
from tune.cluster.join import check_cluster
from tune.cluster.ray_private import Config, parameter, ray_constants
from vae.errors import ClusterError, UsageError

SOURCE = Path(__file__).resolve().parents[2]
PACKAGES = ("vae", "evaluation", "tune")
"""All of the project: what any of its workers may import."""
TOKEN = Path.home() / ".ray" / "auth_token"


@contextlib.contextmanager
def ray_session(
    address: str | None = None, *, cpus: int | None = None, dashboard: bool = True, job: str | None = None
) -> Iterator[str | None]:
    """Start a local cluster or join the one at ``address``, and leave it at the end; yields its dashboard.

    Parameters
    ----------
    address
        `auto`, a host, or host:port. Without it a program's own connection to Ray is used if there is one.
    cpus
        Of a local cluster; those of the machine by default.
    dashboard
        Of a local cluster, which starts faster without these ten processes.
    job
        The name of this command among the jobs of a local cluster's dashboard, see `dashboard_job.py`.

    Raises
    ------
    UsageError
        There is no cluster at the address that this process can join.
    ClusterError
        None starts on this machine.
    """
    with ray_environment(), _without_uv():
        if address is None and ray.is_initialized():  # called from a program that has its own
            yield None
        else:
            with _connection(address, cpus=cpus, dashboard=dashboard, job=job) as url:
                yield url


@contextlib.contextmanager
def _connection(
    address: str | None, *, cpus: int | None, dashboard: bool, job: str | None
) -> Iterator[str | None]:
    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns that the ports are guarded
    if cpus is None:
        address = address or os.environ.get("RAY_ADDRESS")  # set inside a Ray job
    _protect_token(make=address is None)
    if address is None:
        # Inherited by the raylet and so by every worker: `import vae` works whatever the working directory.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
        os.environ["RAY_AUTH_MODE"] = "token"  # Ray's default for `local`, but for who has set another mode
        Config.initialize("")  # it has read that variable already
        try:
            with _on_loopback(), _on_free_ports():
                context = ray.init(
                    "local",  # not the cluster of somebody else on this machine
                    num_cpus=cpus,
                    num_gpus=usable_gpus(),
                    dashboard_host="127.0.0.1",
                    include_dashboard=dashboard,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    job_config=job_config(job),
                )
        except Exception as error:  # Ray raises a plain one when its processes are too slow
            raise ClusterError(
                f"Ray did not start on this machine ({str(error).splitlines()[0]}); try again when it is "
                "less busy; Ray's own logs say more"
            ) from error
    else:
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
            raise UsageError(
                f"the Ray cluster at '{address}' cannot be joined ({str(error).splitlines()[0]})"
            ) from error
    try:
        with listed(job) if job and address is None else contextlib.nullcontext():
            yield f"http://{context.dashboard_url}" if context.dashboard_url else None
    finally:
        ray.shutdown()


def usable_gpus() -> int:
    """Return how many GPUs of this machine trials can use, which is none on a Mac; Ray counts its GPU."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@contextlib.contextmanager
def _without_uv() -> Iterator[None]:
    """Keep to what the environment says about `uv run` now: Ray has read it when it was imported."""
    usual = ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV
    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = ray_constants.env_bool(
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV", True
    )
    try:
        yield
    finally:
        ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = usual


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a cluster that starts listen on 127.0.0.1 only: its metrics ports ask for no token.

    Ray would do so on macOS and Windows; `_node_ip_address="127.0.0.1"` it replaces by an outside address.
    """
    usual, name = ray_constants.ENABLE_RAY_CLUSTER, ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    ray_constants.ENABLE_RAY_CLUSTER, os.environ[name] = False, "0"  # for this process, for Ray's own
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = usual
        del os.environ[name]


@contextlib.contextmanager
def _on_free_ports() -> Iterator[None]:
    """Let a cluster that starts take any free port for the dashboard's agent; `ray.init` has no such option.

    Were the usual one taken by another cluster of this machine, its dashboard would show no jobs and no logs.
    """
    usual = parameter.RayParams
    parameter.RayParams = functools.partial(usual, dashboard_agent_listen_port=0)  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        parameter.RayParams = usual  # type: ignore[misc]


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
