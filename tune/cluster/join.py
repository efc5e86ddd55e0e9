"""Is there a cluster at an address that this process may and can join? Ray itself takes minutes to say no."""

import json
import logging
import socket

import grpc
from ray.exceptions import AuthenticationError

from tune.cluster.ray_private import (
    CLUSTER_METADATA_KEY,
    KV_NAMESPACE_CLUSTER,
    InternalKVGcsServiceStub,
    InternalKVGetRequest,
    canonicalize_bootstrap_address_or_die,
    compute_version_info,
    find_node_ids,
    init_grpc_channel,
    is_token_auth_enabled,
    maybe_enable_token_auth_if_token_available,
)
from vae.errors import UsageError

logger = logging.getLogger(__name__)

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
    UsageError
        Nobody answers, the token is missing, wrong or not wanted, the versions differ, or this machine is
        not a node.
    """
    try:
        found = _resolve(address)
        _use_token_as_wanted(address, found)
        theirs = _versions(found)
    except AuthenticationError as error:
        token = "the token of this user" if is_token_auth_enabled() else "a caller without a token"
        raise UsageError(
            f"the Ray cluster at '{address}' refuses {token}; copy ~/.ray/auth_token from its head node"
        ) from error
    except (OSError, ValueError, grpc.RpcError) as error:
        reason = (error.details() if isinstance(error, grpc.Call) else str(error)) or type(error).__name__
        raise UsageError(
            f"no Ray cluster answers at '{address}' ({reason.splitlines()[0]}); start one with "
            "`ray start --head`, or leave --address out to run on this machine"
        ) from error
    ours = compute_version_info()
    if theirs != ours:
        raise UsageError(
            f"the cluster at '{address}' runs Ray {theirs[0]} on Python {theirs[1]}, this is Ray {ours[0]} "
            f"on Python {ours[1]}; all nodes need requirements.lock and one Python"
        )
    if not find_node_ids():
        raise UsageError(
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


def _use_token_as_wanted(address: str, found: str) -> None:
    """Let Ray send this user's token to a cluster that asks for one; another would lose its workers by it."""
    try:
        with grpc.insecure_channel(found) as channel:
            _ask(channel)
    except (AuthenticationError, grpc.RpcError):
        # To a cluster at an address, Ray sends it only on demand, here in the way of `ray status`.
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        return
    if is_token_auth_enabled():
        raise UsageError(
            f"the Ray cluster at '{address}' asks for no token, but here RAY_AUTH_MODE is token; start the "
            "cluster with RAY_AUTH_MODE=token too"
        )
    logger.warning(
        "the Ray cluster at '%s' asks for no token: whoever reaches its ports can run programs on it", address
    )


def _versions(address: str) -> tuple[str, str]:
    """Return the versions of Ray and Python that the cluster was started with."""
    with init_grpc_channel(address) as channel:
        metadata = json.loads(_ask(channel))
    return metadata["ray_version"], metadata["python_version"]


def _ask(channel: grpc.Channel) -> bytes:
    """Return what a cluster says of itself.

    Asked by gRPC: Ray's own client prints its failures, and ends the process if there is no token at all.
    """
    request = InternalKVGetRequest(namespace=KV_NAMESPACE_CLUSTER, key=CLUSTER_METADATA_KEY)
    try:
        reply = InternalKVGcsServiceStub(channel).InternalKVGet(request, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        if isinstance(error, grpc.Call) and error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise AuthenticationError(error.details() or "") from error
        raise
    value: bytes = reply.value
    return value
