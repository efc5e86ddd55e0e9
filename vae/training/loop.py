"""The training loop. Images live on the device as bytes; a batch is an index, never an object per image."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from vae.config import Config
from vae.data import ImageSet
from vae.errors import UsageError
from vae.losses.ssim import check_window
from vae.metrics.panel import evaluate_panel
from vae.metrics.unlabelled import UnlabelledScores
from vae.models import VAE, ImageShape, build_model, check_image_shape
from vae.training.augmentation import noise_pool
from vae.training.schedules import kl_warmup_factor, learning_rate_factor
from vae.training.state import TrainingState, load_state
from vae.training.step import batch_loss, draw_batch

FINITE_CHECK_STEPS = 50
"""A diverged loss is noticed within this many steps; asking at each one would stall a GPU."""


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """What `train` hands to its callback after each epoch (1-based)."""

    epoch: int
    metrics: dict[str, float]
    stop_reason: str | None
    state: TrainingState


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A trained model, its metrics per epoch, and why it ended early (None: it ran the full budget)."""

    model: VAE
    config: Config
    history: list[dict[str, float]] = field(default_factory=list)
    stop_reason: str | None = None


def train(
    config: Config,
    train: ImageSet,
    validation: ImageSet | None,
    *,
    device: str | torch.device = "cpu",
    resume_from: Path | TrainingState | None = None,
    knn: Callable[[VAE], float] | None = None,
    on_epoch_end: Callable[[EpochEnd], bool | None] | None = None,
) -> TrainResult:
    """Train one VAE.

    All randomness of an epoch follows from the seed and the epoch's number, so a run that stops and resumes
    ends with the same weights, bit for bit on the CPU, as one that never stopped.

    Parameters
    ----------
    validation
        The images that the neutral panel is measured on after each epoch; None measures nothing.
    resume_from
        A state, whose config counts, or the directory that its ``save`` wrote; training continues after its
        epoch.
    knn
        Measures ``val_knn_accuracy`` after each epoch, see `vae.metrics.validation_knn.ValidationKnn`.
    on_epoch_end
        Called after each epoch; returning True ends the training.

    Returns
    -------
    TrainResult
        ``stop_reason`` is ``"nan"`` after a non-finite loss and ``"callback"`` when the callback said stop.

    Raises
    ------
    UsageError
        The config does not fit the images.
    StorageError
        ``resume_from`` is not a checkpoint of this config.
    """
    check_fit(config, train.image_shape, len(train), train.n_classes)
    train, validation = train.to(device), None if validation is None else validation.to(device)
    if resume_from is None:
        model = build_model(
            config.model, train.image_shape, seed=config.training.seed, n_classes=train.n_classes
        ).to(device)
        state = TrainingState(config, model)
    else:
        if isinstance(resume_from, Path):
            resume_from = load_state(resume_from, config, device)
        state = resume_from
        config = state.config
        if state.model.image_shape != train.image_shape:
            raise UsageError(
                f"the run was trained on images {state.model.image_shape}, got {train.image_shape} "
                "(channels, height, width)"
            )
    history: list[dict[str, float]] = []
    unlabelled = None if validation is None else UnlabelledScores(validation.images)
    while state.epoch < config.training.max_epochs:
        metrics = _train_epoch(state, train)
        state.epoch += 1
        started = time.perf_counter()
        state.model.eval()
        if validation is not None:
            metrics |= evaluate_panel(state.model, validation.images, config.loss, unlabelled=unlabelled)
        finite = all(math.isfinite(metrics[name]) for name in ("train_loss", "val_loss") if name in metrics)
        if knn is not None:
            metrics["val_knn_accuracy"] = knn(state.model) if finite else math.nan
        metrics["epoch_seconds"] += time.perf_counter() - started
        history.append(metrics)
        stop_reason = None if finite else "nan"
        stop = on_epoch_end is not None and on_epoch_end(EpochEnd(state.epoch, metrics, stop_reason, state))
        if stop_reason or stop:
            return TrainResult(state.model, config, history, stop_reason or "callback")
    return TrainResult(state.model, config, history)


def check_fit(config: Config, image_shape: ImageShape, n_images: int, n_classes: int = 0) -> None:
    """Raise a UsageError if a config cannot train on that many images of that shape; 0 classes: no labels."""
    check_image_shape(config.model, image_shape)
    if config.model.conditional and not n_classes:
        raise UsageError("conditional needs labels, the images have none; leave it out")
    if config.training.batch_size > n_images:
        raise UsageError(
            f"batch_size must be <= {n_images}, the number of training images, "
            f"got {config.training.batch_size}"
        )
    if config.loss.reconstruction_loss == "ssim":
        check_window(config.loss.ssim_window, *image_shape[1:])


def _train_epoch(state: TrainingState, data: ImageSet) -> dict[str, float]:
    config, model, optimizer, images = state.config, state.model, state.optimizer, data.images
    training, device, n = config.training, images.device, len(images)
    steps = math.ceil(n / training.batch_size)
    generator = torch.Generator(device).manual_seed(_epoch_seed(training.seed, state.epoch))
    order = torch.randperm(n, generator=generator, device=device)
    pool = noise_pool(generator) if "noise" in training.augmentations else None
    sums, kl_weight = torch.zeros(3, device=device), torch.zeros((), device=device)
    learning_rate = 0.0
    model.train()
    started = time.perf_counter()
    for step, index in enumerate(order.split(training.batch_size)):
        epochs_done = state.epoch + step / steps
        learning_rate = training.learning_rate * learning_rate_factor(
            training.schedule, epochs_done, training.schedule_epochs, training.milestones
        )
        for group in optimizer.param_groups:
            group["lr"].fill_(learning_rate)
        kl_weight.fill_(config.loss.kl_weight * kl_warmup_factor(epochs_done, config.loss.kl_warmup_epochs))
        batch = draw_batch(data, index, model, training, pool, generator)
        loss = batch_loss(model, batch, config, kl_weight, state.balance)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        sums += len(index) * torch.stack(
            (loss.total.detach(), loss.reconstruction.detach(), loss.kl.detach())
        )
        if step % FINITE_CHECK_STEPS == FINITE_CHECK_STEPS - 1 and not sums[0].isfinite():
            break
    # Waits for the device, so that the clock below is right.
    train_loss, reconstruction_loss, kl = (sums / n).tolist()
    seconds = time.perf_counter() - started
    return {
        "train_loss": train_loss,
        "train_reconstruction_loss": reconstruction_loss,
        "train_kl": kl,
        "learning_rate": learning_rate,
        "epoch_seconds": seconds,
        "images_per_second": n / seconds,
    }


def _epoch_seed(seed: int, epoch: int) -> int:
    """Return a 63-bit seed for one epoch of one run; neighbouring seeds share nothing."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0]) >> 1
