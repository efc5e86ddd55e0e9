"""What one configuration costs in a worker: a second of training, reports and a checkpoint, measured."""

import math
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tune.algorithms.objective import Objective
from tune.trials.checkpoints import BEST_DIR
from tune.trials.data import TrialData
from tune.trials.trainable import reset_process, trial_device
from vae.config import Config
from vae.data import ImageSet
from vae.errors import is_out_of_memory
from vae.models import count_parameters
from vae.training.best_model import BestModel
from vae.training.loop import Report, train
from vae.training.validation import Validation

WARM_UP_STEPS = 6
TIMED_S = 1.0
"""How long the timed gradient steps take, at least; less where an epoch is shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCost:
    """What a trial with one configuration takes and leaves."""

    start_s: float
    """Before the first image, in a worker that has all its imports."""
    image_s: float
    """Of training."""
    report_s: float
    """A report with all validation images, and its checkpoint."""
    quick_s: float
    """A quick one, and its checkpoint."""
    checkpoint_bytes: int
    best_bytes: int
    """Of the checkpoint, the part that is kept: the best model."""
    n_files: int
    """In a checkpoint."""
    memory_bytes: int
    """The most that the worker has held so far, imports included."""
    n_parameters: int


def measure_cost(
    params: Mapping[str, Any], data: TrialData, objective: Objective, n_threads: int
) -> TrialCost | None:
    """Train for a moment as a trial does; None if the memory does not suffice.

    After `WARM_UP_STEPS` gradient steps come those of `TIMED_S` seconds, and a validation on all its images.
    """
    try:
        return _measure(Config.from_params(dict(params) | {"max_epochs": 1}), data, objective, n_threads)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def _measure(config: Config, data: TrialData, objective: Objective, n_threads: int) -> TrialCost:
    device = trial_device()
    reset_process(0, n_threads)
    started = time.perf_counter()
    images, validation, knn = data.train(device), data.validation(device), data.knn(device)
    start_s = time.perf_counter() - started
    batch = config.training.batch_size
    few = _first(validation, batch)
    warm_up = train(config, _first(images, WARM_UP_STEPS * batch), few, device=device).history[0]
    steps = max(WARM_UP_STEPS, math.ceil(TIMED_S * warm_up["images_per_second"] / batch))
    checkpoint: dict[str, Any] = {}

    def save(report: Report) -> None:
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            best = BestModel(
                directory / BEST_DIR,
                objective.name,
                objective.better,
                split_seed=data.split_seed,
                dataset=data.fingerprint,
            )
            best.update(report)
            report.state.save(directory)
            sizes = {path: path.stat().st_size for path in directory.rglob("*") if path.is_file()}
            checkpoint["bytes"] = sum(sizes.values())
            checkpoint["best"] = sum(size for path, size in sizes.items() if path.parent.name == BEST_DIR)
            checkpoint["files"] = len(sizes) + 1  # and the history
        checkpoint["s"] = time.perf_counter() - begun
        checkpoint["model"] = report.state.model
        checkpoint["parameters"] = count_parameters(report.state.model)

    used, started = _first(images, steps * batch), time.perf_counter()
    timed = train(config, used, validation, device=device, knn=knn, on_report=save).history[0]
    whole_s = time.perf_counter() - started
    measure, quick_s = Validation(validation.images, config.loss, knn), 0.0
    for _ in range(2):  # the first one pays for what is prepared once
        begun = time.perf_counter()
        measure(checkpoint["model"], quick=True)
        quick_s = time.perf_counter() - begun
    return TrialCost(
        start_s=start_s + max(0.0, whole_s - timed["epoch_seconds"] - checkpoint["s"]),
        image_s=1 / timed["images_per_second"],
        report_s=timed["validation_seconds"] + checkpoint["s"],
        quick_s=quick_s + checkpoint["s"],
        checkpoint_bytes=checkpoint["bytes"],
        best_bytes=checkpoint["best"],
        n_files=checkpoint["files"],
        memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024),
        n_parameters=checkpoint["parameters"],
    )


def _first(images: ImageSet, n: int) -> ImageSet:
    return images.subset(torch.arange(min(n, len(images)), device=images.images.device))
