"""The evaluation as Ray tasks: one per embedder, one per embedding and round."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from evaluation.embedders import Embedder, Embedding, EmbeddingKey, Images, Raw
from evaluation.pipeline.serial import (
    STRUCTURE_ROUND,
    Embedded,
    Event,
    MissingScore,
    Scored,
    not_finite,
    planned_rounds,
    proximity,
    score,
    with_raw_neighbors,
)
from evaluation.scores.protocols import Round
from evaluation.scores.ranks import Proximity
from evaluation.scores.settings import KnnGrid
from tune.cluster.nodes import cluster_nodes
from tune.cluster.session import ray_session
from vae.errors import UsageError, one_line
from vae.metrics.neighbor_graph import KnownNeighbors
from vae.metrics.neighbors import Neighbors

logger = logging.getLogger(__name__)

CPUS_PER_TASK = 1
GPUS_PER_TASK = 0.2
"""Where the cluster has GPUs or could start some; a task needs up to 4 GB of one."""
MAX_RETRIES = 3
"""Of a task whose process was killed; an exception would only come again."""


def compute(
    images: Images,
    embedders: Sequence[Embedder],
    grid: KnnGrid,
    *,
    address: str | None = None,
    cpus: int | None = None,
) -> Iterator[Event]:
    """Embed and score on a Ray cluster; see `ray_session` for which.

    The images are in the object store of each node once. An embedding is scored as soon as it is made. A
    killed task is tried again; one that fails is a `MissingScore` and the others continue.
    """
    with ray_session(address, cpus=cpus, dashboard=False):
        yield from _run_tasks(images, embedders, grid)


def _run_tasks(images: Images, embedders: Sequence[Embedder], grid: KnnGrid) -> Iterator[Event]:
    nodes = cluster_nodes()
    if not nodes.cpus:
        raise UsageError(
            "no node of the Ray cluster has a CPU for a task of the evaluation, nor one that could be started"
        )
    if not any(node.get("CPU", 0) for node in nodes.alive):
        logger.warning("no node of the cluster is up; its autoscaler starts some, whatever Ray says of it")
    gpus = GPUS_PER_TASK if nodes.gpus else 0
    resources: dict[str, Any] = {"num_cpus": CPUS_PER_TASK, "max_retries": MAX_RETRIES}
    # numba reads its number of threads when it is imported.
    threads = {"env_vars": {"NUMBA_NUM_THREADS": str(CPUS_PER_TASK)}}
    embed_task, score_task = ray.remote(_embed), ray.remote(_score).options(**resources, num_gpus=gpus)

    images_ref = ray.put(images)
    pixels_ref = ray.remote(_proximity).options(**resources).remote(images_ref, grid)
    embedding: dict[Any, list[EmbeddingKey]] = {}
    scoring: dict[Any, tuple[EmbeddingKey, Round]] = {}
    of_raw: dict[str, Neighbors] = {}

    def embed(embedder: Embedder) -> None:
        task = embed_task.options(
            **resources,
            num_gpus=gpus if embedder.on_gpu else 0,
            num_returns="streaming",
            runtime_env=threads,
        )
        known = (
            with_raw_neighbors(images, grid, of_raw).raw_neighbors if embedder.uses_raw_neighbors else None
        )
        embedding[task.remote(embedder, images_ref, known)] = list(embedder.keys)

    def raw_is_under_way() -> bool:
        keys = [key for missing in embedding.values() for key in missing]
        keys += [key for key, which in scoring.values() if which.protocol != STRUCTURE_ROUND]
        return any(key.method == Raw.name for key in keys)

    # The most expensive first: the last task to start should be a short one. Raw pixels are before all, as
    # some wait for their neighbours, whether these are found or not.
    has_raw = any(isinstance(embedder, Raw) for embedder in embedders)
    waiting = [embedder for embedder in embedders if has_raw and embedder.uses_raw_neighbors]
    for embedder in sorted(embedders, key=lambda each: (not isinstance(each, Raw), -each.relative_cost)):
        if embedder not in waiting:
            embed(embedder)
    while embedding or scoring or waiting:
        if waiting and not raw_is_under_way():
            embed(waiting.pop(0))
            continue
        pending: list[Any] = [*embedding, *scoring]
        ready: Any = ray.wait(pending, fetch_local=False)[0][0]
        if ready in scoring:
            key, which = scoring.pop(ready)
            event = _collect_score(ready, key, which)
            if isinstance(event, Scored) and event.neighbors is not None:
                of_raw[which.protocol] = event.neighbors
            yield event
            continue
        missing = embedding[ready]
        try:
            embedding_ref = next(ready)
            result: Embedding = ray.get(embedding_ref)
        except StopIteration:
            del embedding[ready]
            continue
        except Exception as error:
            del embedding[ready]
            logger.debug("an embedder failed", exc_info=True)
            yield from (MissingScore(key, None, one_line(_cause(error))) for key in missing)
            continue
        missing.remove(result.key)
        if missing_score := not_finite(result):
            yield missing_score
            continue
        for which in planned_rounds(images, grid):
            pixels = pixels_ref if which.protocol == STRUCTURE_ROUND else None  # the others need not wait
            scoring[score_task.remote(embedding_ref, images_ref, which, grid, pixels)] = result.key, which
        yield Embedded(result)


def _collect_score(ref: ray.ObjectRef, key: EmbeddingKey, which: Round) -> Scored | MissingScore:
    try:
        scored: Scored = ray.get(ref)
        return scored
    except Exception as error:
        logger.debug("%s, %s failed", key, which, exc_info=True)
        return MissingScore(key, which, one_line(_cause(error)))


def _cause(error: Exception) -> Exception:
    """Return what the task raised, not the traceback that Ray wraps around it."""
    return error.cause if isinstance(error, ray.exceptions.RayTaskError) else error


def _embed(embedder: Embedder, images: Images, known: KnownNeighbors | None) -> Iterator[Embedding]:
    with _own_cores_only():
        yield from embedder.embeddings(replace(images, raw_neighbors=known), _device())


def _proximity(images: Images, grid: KnnGrid) -> Proximity | None:
    with _own_cores_only():
        return proximity(images, grid)


def _score(
    embedding: Embedding, images: Images, which: Round, grid: KnnGrid, pixels: Proximity | None
) -> Scored:
    with _own_cores_only():
        return score(embedding, images, which, grid, pixels, _device())


@contextmanager
def _own_cores_only() -> Iterator[None]:
    torch.set_num_threads(CPUS_PER_TASK)
    with threadpool_limits(CPUS_PER_TASK):
        yield


def _device() -> str:
    return "cuda" if ray.get_gpu_ids() and torch.cuda.is_available() else "cpu"
