"""What runs in a worker: train one VAE, report it with checkpoints, resume after a failure."""

import gc
import logging
import math
import random
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import ray
import torch
from ray.tune import Checkpoint, get_checkpoint, get_context
from ray.tune import report as report_to_tune

from tune.algorithms.budget import Budget
from tune.algorithms.objective import Objective
from tune.cluster.shared_storage import NotShared
from tune.storage.trial_status import STOP_REASON, TIME_ATTR, StopReason
from tune.trials.checkpoints import BEST_DIR, HISTORY_FILE, read_history, write_history
from tune.trials.data import TrialData
from tune.trials.remote_checkpoints import RemoteCheckpoints
from vae.config import Config
from vae.errors import is_out_of_memory
from vae.models import count_parameters
from vae.training.best_model import BestModel
from vae.training.loop import Report, train

logger = logging.getLogger(__name__)

NO_CLUSTER_STORAGE = "Unable to set up cluster storage"  # Ray misses the file that its driver has written


@dataclass(frozen=True, slots=True)
class CollapseRule:
    """A posterior has collapsed if it has fewer than ``min_active_units`` after so many images or later.

    At the start of a training no unit is active either, so the first `MIN_STEPS` steps do not count.
    """

    min_active_units: int
    after: int

    MIN_STEPS: ClassVar[int] = 200

    def applies(self, images: int, steps: int, active_units: float) -> bool:
        return images >= self.after and steps >= self.MIN_STEPS and active_units < self.min_active_units


def train_trial(
    config: Mapping[str, Any],
    *,
    data: TrialData,
    objective: Objective,
    n_threads: int,
    collapse: CollapseRule,
    budget: Budget,
    remote: RemoteCheckpoints | None = None,
    on_report: Callable[[Report], object] | None = None,
) -> None:
    """Train the trial that ``config`` describes; everything of interest goes through `ray.tune.report`.

    Parameters
    ----------
    config
        ``trial_id``, ``params`` (every hyperparameter) and ``resume_from``, the checkpoint to resume from.
    data
        The images.
    objective
        Decides which report is the best.
    n_threads
        Of torch, on the CPU.
    collapse
        When the trial ends because its posterior has collapsed.
    budget
        How long a trial trains in full, and when it reports.
    remote
        Where the checkpoints go if the study lies under a URI.
    on_report
        Called before each report.
    """
    params = config["params"]
    remote = remote and remote.of_trial(config["trial_id"])
    device = trial_device()
    reset_process(params["seed"], n_threads)
    with tempfile.TemporaryDirectory() as directory:
        checkpoint = restore_checkpoint(Path(directory), config.get("resume_from"), remote)
        reporter = TrialReporter(Path(directory), data, objective, collapse, remote)

        def send(report: Report) -> bool:
            if on_report is not None:
                on_report(report)
            return reporter.send(report)

        try:
            train(
                Config.from_params(params),
                data.train(device),
                data.validation(device),
                device=device,
                resume_from=checkpoint,
                knn=data.knn(device),
                on_report=send,
                report_at=budget.reports,
                quick_until=budget.quick_until,
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reporter.report_out_of_memory()


def restore_checkpoint(
    directory: Path, resume_from: str | None, remote: RemoteCheckpoints | None
) -> Path | None:
    """Unpack the checkpoint to resume from into an empty directory, and return that; None if there is none.

    It is the one that Tune restores or, after a restart of the driver, ``resume_from``.
    """
    if remote:
        return directory if remote.load(directory, resume_from) else None
    checkpoint = get_checkpoint() or (Checkpoint.from_directory(resume_from) if resume_from else None)
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as source:
        shutil.copytree(source, directory, dirs_exist_ok=True)
    return directory


class TrialReporter:
    """Sends the reports of one trial to Tune; its directory is what becomes the checkpoint."""

    def __init__(
        self,
        directory: Path,
        data: TrialData,
        objective: Objective,
        collapse: CollapseRule,
        remote: RemoteCheckpoints | None,
    ) -> None:
        self.directory = directory
        self.remote = remote
        self.collapse = collapse
        self.history: list[dict[str, Any]] = []
        if (directory / HISTORY_FILE).exists():
            self.history = read_history(directory)
        self.objective = objective
        self.best = BestModel(
            directory / BEST_DIR,
            objective.name,
            objective.better,
            split_seed=data.split_seed,
            dataset=data.fingerprint,
            resize=data.resize,
            resume=True,
        )
        self.images = 0

    def send(self, report: Report) -> bool:
        """Send a report with its checkpoint; True ends the training."""
        metrics: dict[str, Any] = dict(report.metrics)
        stop_reason = report.stop_reason or (
            None if math.isfinite(metrics[self.objective.name]) else StopReason.NAN
        )
        steps = report.images // report.state.config.training.batch_size
        if stop_reason is None and self.collapse.applies(report.images, steps, metrics["active_units"]):
            stop_reason = StopReason.COLLAPSED
        self.images = report.images
        result = metrics | {
            TIME_ATTR: report.images,
            "epoch": report.epoch,
            "quick": report.quick,
            STOP_REASON: stop_reason,
            "latent_dim": report.state.config.model.latent_dim,
            "n_parameters": count_parameters(report.state.model),
        }
        if stop_reason:  # the last checkpoint stays the one before
            report_to_tune(result)
            return True
        is_best = self.best.update(report)
        report.state.save(self.directory)
        self.history.append(result | {"is_best": is_best})
        write_history(self.directory, self.history)
        files = (path for path in self.directory.rglob("*") if path.is_file())
        result["checkpoint_bytes"] = sum(path.stat().st_size for path in files)
        if self.remote:
            self.remote.save(self.directory, report.images)
            report_to_tune(result)
        else:
            with _on_shared_storage():
                report_to_tune(result, checkpoint=Checkpoint.from_directory(self.directory))
        return False

    def report_out_of_memory(self) -> None:
        """Report why the trial ends; there are no metrics to go with it."""
        report_to_tune(
            {TIME_ATTR: self.images, STOP_REASON: StopReason.OUT_OF_MEMORY, self.objective.name: math.nan}
        )


@contextmanager
def _on_shared_storage() -> Iterator[None]:
    """Name the node that does not see the run directory: it has joined since the driver asked all others."""
    try:
        yield
    except RuntimeError as error:
        if NO_CLUSTER_STORAGE not in str(error):
            raise
        raise NotShared.for_node(socket.gethostname(), get_context().get_trial_dir()) from error


def trial_device() -> torch.device:
    """Return where this trial trains: on the GPU that Ray gave it, unless torch cannot use that one."""
    if not ray.get_gpu_ids():
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    logger.warning("Ray counts GPUs on this node, but torch can use none; training on the CPU")
    return torch.device("cpu")


def reset_process(seed: int, n_threads: int) -> None:
    """Reset what an earlier trial in this process may have changed; Tune reuses processes for many trials."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    torch.set_num_threads(n_threads)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what must be reset is the global generator
    random.seed(seed)
