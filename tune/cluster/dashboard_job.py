"""How a command shows among the jobs of Ray's dashboard: by name, with metadata that change while it works.

Ray fixes what a driver says about itself at the start, and its dashboard shows that of submitted jobs only,
whose entry can be changed. So a command with a cluster of its own lists itself there like a submitted job;
nothing remains of that when the cluster ends. On a cluster of others the entry of a driver that was killed
would stay for ever: there only what `ray job submit` has started is shown.
"""

import contextlib
import json
import logging
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.job_config import JobConfig

from tune.cluster.ray_private import (
    JOB_ID_METADATA_KEY,
    JOB_LOGS_PATH_TEMPLATE,
    JOB_NAME_METADATA_KEY,
    KV_NAMESPACE_JOB,
    JobInfo,
    JobInfoStorageClient,
    JobStatus,
    _internal_kv_get,
    _internal_kv_put,
    global_worker,
)

log = logging.getLogger("ray_job")
"""What stands in the job's log and nowhere else; the output of a submitted job is its log already."""
log.propagate = False
log.setLevel(logging.INFO)


def job_config(name: str | None) -> JobConfig:
    """Return what ties the driver that is to start a cluster to the entry that `listed` makes, if any."""
    return JobConfig(metadata={JOB_ID_METADATA_KEY: name} if name else {})


@contextlib.contextmanager
def listed(name: str) -> Iterator[None]:
    """List this process as the job ``name`` of the cluster that it has started, with a log."""
    info = JobInfo(
        status=JobStatus.RUNNING,
        entrypoint=shlex.join([Path(sys.executable).name, *sys.argv]),
        start_time=int(time.time() * 1000),
        metadata={JOB_NAME_METADATA_KEY: name},
        driver_node_id=ray.get_runtime_context().get_node_id(),
    )
    _internal_kv_put(_key(name), json.dumps(info.to_json()), namespace=KV_NAMESPACE_JOB)
    assert global_worker.node is not None
    file = Path(global_worker.node.get_logs_dir_path(), JOB_LOGS_PATH_TEMPLATE.format(submission_id=name))
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    loggers = (log, logging.getLogger())
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


def update_job(message: str, metadata: Mapping[str, str]) -> None:
    """Change the status message and some metadata of this job; does nothing where Ray shows neither."""
    submission_id = _submission_id()
    if submission_id is None:
        return
    with contextlib.suppress(RayError, OSError, RuntimeError):  # a label is not worth a search
        found: Any = _internal_kv_get(_key(submission_id), namespace=KV_NAMESPACE_JOB)
        if found is None:
            return
        info: dict[str, Any] = json.loads(found)
        # A name that was given to `ray job submit` stays.
        info["metadata"] = {JOB_NAME_METADATA_KEY: submission_id} | (info["metadata"] or {}) | dict(metadata)
        info["message"] = message
        if global_worker.node is not None and global_worker.node.is_head():
            # When another job is submitted, Ray takes an entry that it has not made itself for a failed one.
            info |= {"status": JobStatus.RUNNING.value, "error_type": None, "end_time": None}
        _internal_kv_put(_key(submission_id), json.dumps(info), overwrite=True, namespace=KV_NAMESPACE_JOB)
    log.info("%s", message)


def _submission_id() -> str | None:
    if not ray.is_initialized():
        return None
    worker: Any = global_worker
    return worker.core_worker.get_job_config().metadata.get(JOB_ID_METADATA_KEY)


def _key(submission_id: str) -> str:
    return JobInfoStorageClient.JOB_DATA_KEY.format(job_id=submission_id)
