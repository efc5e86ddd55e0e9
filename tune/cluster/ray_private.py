"""Every private part of Ray that we rely on, so that a new Ray breaks one file and one test."""

from typing import Any

from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY
from ray._private import parameter, ray_constants
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._private.authentication.authentication_utils import is_token_auth_enabled
from ray._private.grpc_utils import init_grpc_channel
from ray._private.ray_constants import KV_NAMESPACE_CLUSTER, KV_NAMESPACE_JOB
from ray._private.services import canonicalize_bootstrap_address_or_die, find_node_ids
from ray._private.state import actors
from ray._private.utils import compute_version_info
from ray._private.worker import global_worker
from ray._raylet import Config, GcsClient, setproctitle  # type: ignore[attr-defined]
from ray.core.generated.autoscaler_pb2 import DrainNodeReason  # type: ignore[attr-defined]
from ray.core.generated.gcs_service_pb2 import InternalKVGetRequest  # type: ignore[attr-defined]
from ray.core.generated.gcs_service_pb2_grpc import InternalKVGcsServiceStub
from ray.dashboard.modules.job.common import (
    JOB_ID_METADATA_KEY,
    JOB_LOGS_PATH_TEMPLATE,
    JOB_NAME_METADATA_KEY,
    JobInfo,
    JobInfoStorageClient,
    JobStatus,
)
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

__all__ = [
    "CLUSTER_METADATA_KEY",
    "JOB_ID_METADATA_KEY",
    "JOB_LOGS_PATH_TEMPLATE",
    "JOB_NAME_METADATA_KEY",
    "KV_NAMESPACE_CLUSTER",
    "KV_NAMESPACE_JOB",
    "Config",
    "DrainNodeReason",
    "GcsClient",
    "InternalKVGcsServiceStub",
    "InternalKVGetRequest",
    "JobInfo",
    "JobInfoStorageClient",
    "JobStatus",
    "_internal_kv_get",
    "_internal_kv_put",
    "actors",
    "autoscaler_config_reader",
    "canonicalize_bootstrap_address_or_die",
    "compute_version_info",
    "find_node_ids",
    "global_worker",
    "init_grpc_channel",
    "is_token_auth_enabled",
    "maybe_enable_token_auth_if_token_available",
    "parameter",
    "ray_constants",
    "setproctitle",
]


def autoscaler_config_reader(file: str) -> Any:
    """Return Ray's own reader of the file that its autoscaler was started with."""
    from ray.autoscaler.v2.instance_manager.config import FileConfigReader  # a quarter of a second

    return FileConfigReader(file)
