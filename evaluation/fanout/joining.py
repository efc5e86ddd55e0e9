"""Is there a cluster at an address that this process may and can join? Ray itself takes minutes to say no."""

import json
import socket

import grpc
from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY
from ray._private.authentication.authentication_utils import is_token_auth_enabled
from ray._private.grpc_utils import init_grpc_channel
from ray._private.ray_constants import KV_NAMESPACE_CLUSTER
from ray._private.services import canonicalize_bootstrap_address_or_die, find_node_ids
from ray._private.utils import compute_version_info
from ray.core.generated.gcs_service_pb2 import InternalKVGetRequest  # type: ignore[attr-defined]
from ray.core.generated.gcs_service_pb2_grpc import InternalKVGcsServiceStub
from ray.exceptions import AuthenticationError

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
        theirs = _versions(found)
    except AuthenticationError as error:
        token = "the token of this user" if is_token_auth_enabled() else "a caller without a token"
        raise UserError(
            f"the Ray cluster at '{address}' refuses {token}; copy ~/.ray/auth_token from its head node"
        ) from error
    except (OSError, ValueError, grpc.RpcError) as error:
        reason = (error.details() if isinstance(error, grpc.Call) else str(error)) or type(error).__name__
        raise UserError(
            f"no Ray cluster answers at '{address}' ({reason.splitlines()[0]}); start one with "
            "`ray start --head`, or leave --address out to run on this machine"
        ) from error
    ours = compute_version_info()
    if theirs != ours:
        raise UserError(
            f"the cluster at '{address}' runs Ray {theirs[0]} on Python {theirs[1]}, this is Ray {ours[0]} "
            f"on Python {ours[1]}; all nodes need requirements.lock and one Python"
        )
    if not find_node_ids():
        raise UserError(
            f"this machine is not a node of the cluster at '{address}'; run the command on one, for example "
            "by `ray job submit`"
        )
    return found


def _resolve(address: str) -> str:
    """Return host:port; somebody listens there."""
    if address == "auto":
        address = canonicalize_bootstrap_address_or_die("auto")
    elif ":" not in address:
        address = f"{address}:{DEFAULT_PORT}"
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=TIMEOUT_S).close()
    return address


def _versions(address: str) -> tuple[str, str]:
    """Return the versions of Ray and Python that the cluster was started with.

    Asked by gRPC: Ray's own client prints its failures, and ends the process if there is no token at all.
    """
    request = InternalKVGetRequest(namespace=KV_NAMESPACE_CLUSTER, key=CLUSTER_METADATA_KEY)
    with init_grpc_channel(address) as channel:
        try:
            reply = InternalKVGcsServiceStub(channel).InternalKVGet(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            if isinstance(error, grpc.Call) and error.code() == grpc.StatusCode.UNAUTHENTICATED:
                raise AuthenticationError(error.details() or "") from error
            raise
    metadata = json.loads(reply.value)
    return metadata["ray_version"], metadata["python_version"]
