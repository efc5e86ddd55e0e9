"""How many trials share a GPU: found by training the largest model of the space on one for a moment."""

import contextlib
import math
from dataclasses import asdict
from typing import Any

import ray
import torch
from rich.console import Console

from tune.algorithms.proposals import trial_name
from tune.cluster.nodes import Nodes, cluster_nodes
from tune.cluster.resources import GPUS_PER_TRIAL
from tune.space.display import percent
from tune.space.largest_model import largest_config
from tune.study.session import StudySession
from tune.trials.data import TrialData
from tune.trials.errors import task_message
from tune.trials.trainable import reset_process, trial_device
from vae.config import Config
from vae.training.gpu_usage import GpuUsage, measure_gpu_usage

MEMORY_SHARE = 0.9
"""Of the GPU's memory that trials may use; a short measurement underestimates what they need."""
MAX_TRIALS_PER_GPU = 16
WAIT_S = 120.0
"""Longest wait for a GPU of a node that is alive: others may be using it."""
WAIT_FOR_NODE_S = 900.0
"""Longest wait for the first node with a GPU; without it no trial can run either."""
BUDGET_SHARE = 0.25
"""Of the time budget that the wait may take."""

OUT_OF_MEMORY = "it is out of memory"
NO_CUDA = "torch can use none of the GPUs that Ray counts"


def choose_gpu_share(study: StudySession, console: Console) -> None:
    """Measure how many trials can share a GPU, unless the plan says so, it is known or there are no GPUs.

    `study.json` keeps the measurement. If it fails, the default share remains. For errors see
    `tune.cluster.resources.trial_resources`.
    """
    plan, nodes = study.plan, cluster_nodes()
    if plan.gpus_per_trial is not None or study.record.profile or not nodes.gpus:
        return
    resources = study.resources(plan.trials)
    images = study.data.train(torch.device("cpu"))
    config = largest_config(plan.space, images.image_shape, images.n_classes)
    model = f"largest model of the space: {_describe(config)}"
    has_gpu = any(node.get("GPU", 0) for node in nodes.alive)
    if not has_gpu:
        console.print("waiting for the first node with a GPU, to see how many trials can share one")
    wait_s = min(WAIT_S if has_gpu else WAIT_FOR_NODE_S, BUDGET_SHARE * (plan.time_budget_s or math.inf))
    usage = _measure_on_a_gpu(config, study.data, resources.cpus, resources.n_threads, wait_s)
    if isinstance(usage, str) and usage != OUT_OF_MEMORY:
        console.print(f"{model}: not measured ({usage}); {1 / GPUS_PER_TRIAL:g} trials share a GPU")
        return
    if isinstance(usage, str):
        n, found = 1, "does not fit onto a GPU, so some trials may fail"
    else:
        n = min(trials_per_gpu(usage), _cpus_per_gpu(nodes, resources.cpus))
        busy = "an unknown share of the time" if usage.busy is None else percent(usage.busy, 0)
        found = f"{usage.memory_bytes / 1e9:.1f} of {usage.total_bytes / 1e9:.0f} GB, GPU busy {busy}"
    console.print(f"{model}: {found}: {f'{n} trials share a GPU' if n > 1 else 'each trial has its own GPU'}")
    study.save(
        profile={
            "config": config.to_params(),
            **({"error": usage} if isinstance(usage, str) else asdict(usage)),
            "trials_per_gpu": n,
            "gpus_per_trial": share_of(n),
        }
    )


def trials_per_gpu(usage: GpuUsage) -> int:
    """Return how many trainings like this one fit onto the GPU and leave one another time to compute.

    Without MPS their kernels take turns, so a GPU that is always busy gains nothing from another trial.
    """
    by_memory = MEMORY_SHARE * usage.total_bytes / usage.memory_bytes
    by_time = 1 / GPUS_PER_TRIAL if usage.busy is None else 1 / max(usage.busy, 1 / MAX_TRIALS_PER_GPU)
    return max(1, min(int(by_memory), int(by_time + 1e-9), MAX_TRIALS_PER_GPU))


def share_of(n: int) -> float:
    """Return the share that each of ``n`` trials asks for, rounded down to Ray's unit so that all fit."""
    return math.floor(1e4 / n) / 1e4


def _cpus_per_gpu(nodes: Nodes, cpus: float) -> int:
    """Return for how many trials a node has CPUs, per GPU; the maximum over the nodes."""
    with_gpu = [node for node in nodes.possible if node.get("GPU", 0)]
    return max(1, *(int(node.get("CPU", 0) / cpus / node["GPU"] + 1e-9) for node in with_gpu))


def _describe(config: Config) -> str:
    name = trial_name(0, config.to_params()).partition("-")[2]
    return f"{name}, width {config.model.width:g}, batch {config.training.batch_size}"


def _measure_on_a_gpu(
    config: Config, data: TrialData, cpus: float, n_threads: int, wait_s: float
) -> GpuUsage | str:
    """Return what a training uses of a GPU of its own, or why that could not be measured."""
    # The process ends with the task, which frees the memory that CUDA holds.
    measure: Any = ray.remote(num_cpus=cpus, num_gpus=1, max_calls=1, max_retries=0)(_measure)
    task = measure.remote(config.to_params(), data, n_threads)
    try:
        usage: GpuUsage | str = ray.get(task, timeout=wait_s)
        return usage
    except ray.exceptions.GetTimeoutError:
        return f"no answer from a GPU of its own within {wait_s:.0f} s"
    except ray.exceptions.RayError as error:
        return task_message(error)
    finally:
        with contextlib.suppress(Exception):  # it is over, or Ray is
            ray.cancel(task, force=True)


def _measure(params: dict[str, Any], data: TrialData, n_threads: int) -> GpuUsage | str:
    """Train for a moment as a trial does, in a worker."""
    device = trial_device()
    if device.type != "cuda":
        return NO_CUDA
    reset_process(0, n_threads)
    try:
        usage = measure_gpu_usage(
            Config.from_params(params),
            data.train(device),
            data.validation(device),
            device=device,
            knn=data.knn(device),
        )
    except torch.OutOfMemoryError:
        return OUT_OF_MEMORY
    assert usage is not None
    return usage
