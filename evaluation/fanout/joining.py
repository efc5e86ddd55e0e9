"""Is there a cluster at an address that this process may and can join? Ray itself takes minutes to say no."""

import json
import os
import socket

from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY
from ray._private.ray_constants import KV_NAMESPACE_CLUSTER
from ray._private.services import canonicalize_bootstrap_address_or_die, find_node_ids
from ray._private.utils import compute_version_info
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError, RayError

from vae.errors import UserError

TIMEOUT_S = 10
DEFAULT_PORT = 6379


def check_cluster(address: str) -> str:
    """Return the address of the cluster as host:port, once it has answered and let us in.

    Parameters
    ----------
    address
        `auto`, a host, or host:port.

    Raises
    ------
    UserError
        Nobody answers, the token is missing or wrong, the versions differ, or this machine is not a node.
    """
    try:
        found = _resolve(address)
        metadata = _metadata(found)
    except AuthenticationError as error:
        raise UserError(
            f"the Ray cluster at '{address}' refuses {_token()}; copy ~/.ray/auth_token from its head node"
        ) from error
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise UserError(
            f"no Ray cluster answers at '{address}' ({str(error).splitlines()[0]}); start one with "
            "`ray start --head`, or leave --address out to run on this machine"
        ) from error
    ray_version, python_version = compute_version_info()
    theirs = (metadata["ray_version"], metadata["python_version"])
    if theirs != (ray_version, python_version):
        raise UserError(
            f"the cluster at '{address}' runs Ray {theirs[0]} on Python {theirs[1]}, this is Ray "
            f"{ray_version} on Python {python_version}; all nodes need requirements.lock and one Python"
        )
    if not find_node_ids():
        raise UserError(
            f"this machine is not a node of the cluster at '{address}'; run the command on one, for example "
            "by `ray job submit`"
        )
    return found


def _resolve(address: str) -> str:
    if address == "auto":
        address = canonicalize_bootstrap_address_or_die("auto")
    elif ":" not in address:
        address = f"{address}:{DEFAULT_PORT}"
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=TIMEOUT_S).close()
    return address


def _metadata(address: str) -> dict[str, str]:
    """Return the versions that the cluster was started with."""
    text = GcsClient(address=address).internal_kv_get(
        CLUSTER_METADATA_KEY, namespace=KV_NAMESPACE_CLUSTER, timeout=TIMEOUT_S
    )
    metadata: dict[str, str] = json.loads(text)
    return metadata


def _token() -> str:
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return "a caller without a token"
    return "the token of this user"
