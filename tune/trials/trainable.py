"""What runs in a worker: train one VAE, report each epoch with a checkpoint, go on after a failure."""

import gc
import logging
import math
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import ray
import torch
from ray.tune import Checkpoint, get_checkpoint, get_context, report

from tune.algorithms.objective import Objective
from tune.cluster.shared_storage import NotShared
from tune.storage.trial_status import COLLAPSED, NAN, OUT_OF_MEMORY, STOP_REASON, TIME_ATTR
from tune.trials.checkpoints import BEST_DIR, read_history, write_history
from tune.trials.data import TrialData
from tune.trials.remote_checkpoints import RemoteCheckpoints
from vae.checkpoint import load_model, save_model
from vae.config import Config
from vae.data import ImageSet
from vae.inference import embed
from vae.metrics.knn import knn_accuracy
from vae.models import VAE, count_parameters
from vae.training.loop import EpochEnd, train

logger = logging.getLogger(__name__)

N_NEIGHBORS = 10
NO_CLUSTER_STORAGE = "Unable to set up cluster storage"  # Ray misses the file that its driver has written
CPU_OUT_OF_MEMORY = "can't allocate memory"  # torch says so in a plain RuntimeError


@dataclass(frozen=True, slots=True)
class Collapse:
    """When a posterior counts as collapsed: fewer than ``min_active_units`` from epoch ``after`` on.

    A model that has hardly begun to learn has no active unit either; `MIN_STEPS` steps are granted to each.
    """

    min_active_units: int
    after: int

    MIN_STEPS: ClassVar[int] = 200

    def happened(self, epoch: int, steps: int, active_units: float) -> bool:
        return epoch >= self.after and steps >= self.MIN_STEPS and active_units < self.min_active_units


def train_trial(
    config: Mapping[str, Any],
    *,
    data: TrialData,
    objective: Objective,
    n_threads: int,
    collapse: Collapse,
    remote: RemoteCheckpoints | None = None,
) -> None:
    """Train the trial that ``config`` describes; everything of interest goes through `ray.tune.report`.

    Its checkpoints go to ``remote``, where the study lies under a URI.
    """
    params = config["params"]
    remote = remote and remote.of_trial(config["trial_id"])
    device = trial_device()
    reset_process(params["seed"], n_threads)
    with tempfile.TemporaryDirectory() as directory:
        reporter = _Reporter(Path(directory), data, device, objective, collapse, remote)
        try:
            train(
                Config.from_params(params),
                data.train(device),
                reporter.validation,
                device=device,
                resume_from=reporter.take_up(config.get("resume_from")),
                on_epoch_end=reporter.on_epoch_end,
            )
        except (torch.OutOfMemoryError, MemoryError):
            reporter.out_of_memory()
        except RuntimeError as error:
            if CPU_OUT_OF_MEMORY not in str(error):
                raise
            reporter.out_of_memory()


class _Reporter:
    """Reports each epoch of one trial; its directory is what becomes the checkpoint."""

    def __init__(
        self,
        directory: Path,
        data: TrialData,
        device: torch.device,
        objective: Objective,
        collapse: Collapse,
        remote: RemoteCheckpoints | None,
    ) -> None:
        self.directory = directory
        self.remote = remote
        self.collapse = collapse
        self.n_train = len(data.train_images)
        self.history: list[dict[str, Any]] = []
        self.objective = objective
        self.validation = data.validation(device)
        self.split_seed = data.split_seed
        self.knn = ValidationKnn(data, device) if data.labelled else None
        self.best: float | None = None
        self.epoch = 0

    def take_up(self, left: str | None) -> Path | None:
        """Unpack the checkpoint that Tune restores from, or that an earlier driver has ``left``, if any."""
        if self.remote:
            if not self.remote.load(self.directory, left):
                return None
        else:
            checkpoint = get_checkpoint() or (Checkpoint.from_directory(left) if left else None)
            if checkpoint is None:
                return None
            with checkpoint.as_directory() as source:
                shutil.copytree(source, self.directory, dirs_exist_ok=True)
        self.history = read_history(self.directory)
        if (self.directory / BEST_DIR).is_dir():
            self.best = load_model(self.directory / BEST_DIR).metrics[self.objective.name]
        return self.directory

    def on_epoch_end(self, end: EpochEnd) -> bool:
        """Report an epoch; True ends the training."""
        metrics: dict[str, Any] = dict(end.metrics)
        if self.knn is not None:
            started = time.perf_counter()
            metrics["val_knn_accuracy"] = math.nan if end.stop_reason else self.knn(end.state.model)
            metrics["epoch_seconds"] += time.perf_counter() - started
        value = metrics[self.objective.name]
        stop_reason = end.stop_reason or (None if math.isfinite(value) else NAN)
        steps = end.epoch * math.ceil(self.n_train / end.state.config.training.batch_size)
        if stop_reason is None and self.collapse.happened(end.epoch, steps, metrics["active_units"]):
            stop_reason = COLLAPSED
        self.epoch = end.epoch
        result = metrics | {
            TIME_ATTR: end.epoch,
            STOP_REASON: stop_reason,
            "n_parameters": count_parameters(end.state.model),
        }
        if stop_reason:  # the last checkpoint stays the one before
            report(result)
            return True
        is_best = self.objective.better(value, self.best)
        if is_best:
            self.best = value
            save_model(
                self.directory / BEST_DIR,
                end.state.model,
                end.state.config,
                epoch=end.epoch,
                metrics=metrics,
                split_seed=self.split_seed,
            )
        end.state.save(self.directory)
        self.history.append(result | {"is_best": is_best})
        write_history(self.directory, self.history)
        files = (path for path in self.directory.rglob("*") if path.is_file())
        result["checkpoint_bytes"] = sum(path.stat().st_size for path in files)
        if self.remote:
            self.remote.save(self.directory, end.epoch)
            report(result)
        else:
            with _on_shared_storage():
                report(result, checkpoint=Checkpoint.from_directory(self.directory))
        return False

    def out_of_memory(self) -> None:
        """Report why the trial ends; there is no epoch to go with it."""
        report({TIME_ATTR: self.epoch, STOP_REASON: OUT_OF_MEMORY, self.objective.name: math.nan})


@contextmanager
def _on_shared_storage() -> Iterator[None]:
    """Tell of a node that has joined since the driver asked all of them for its directory."""
    try:
        yield
    except RuntimeError as error:
        if NO_CLUSTER_STORAGE not in str(error):
            raise
        raise NotShared.by(socket.gethostname(), get_context().get_trial_dir()) from error


class ValidationKnn:
    """KNN accuracy of the validation images among a sample of the training images, in the latent means."""

    def __init__(self, data: TrialData, device: torch.device) -> None:
        train, validation = data.train(device), data.validation(device)
        self.reference = _rows(train, data.reference_index)
        self.query = _rows(validation, data.query_index)

    def __call__(self, model: VAE) -> float:
        reference, query = embed(model, self.reference.images), embed(model, self.query.images)
        if not (reference.isfinite().all() and query.isfinite().all()):
            return math.nan
        assert self.reference.labels is not None
        assert self.query.labels is not None
        return knn_accuracy(
            reference,
            self.reference.labels,
            query,
            self.query.labels,
            n_neighbors=N_NEIGHBORS,
            weights="distance",
        )


def _rows(images: ImageSet, index: np.ndarray) -> ImageSet:
    return images.subset(torch.tensor(index, device=images.images.device))


def trial_device() -> torch.device:
    """Return where this trial trains: on the GPU that Ray gave it, unless torch cannot use that one."""
    if not ray.get_gpu_ids():
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    logger.warning("Ray counts GPUs on this node, but torch can use none; training on the CPU")
    return torch.device("cpu")


def reset_process(seed: int, n_threads: int) -> None:
    """Put back what an earlier trial in this process may have left; Tune reuses processes for many trials."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    torch.set_num_threads(n_threads)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what must be reset is the global generator
    random.seed(seed)
