"""The training loop. Images live on the device as bytes; a batch is an index, never an object per image."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae.config import Config
from vae.data import ImageSet
from vae.errors import UsageError
from vae.inference import to_unit
from vae.losses.elbo import vae_loss
from vae.losses.ssim import check_window
from vae.metrics.panel import evaluate_panel
from vae.metrics.unlabelled import UnlabelledScores
from vae.models import NO_LABEL, VAE, ImageShape, build_model, check_image_shape
from vae.training.augmentation import add_noise, apply_geometric, noise_pool
from vae.training.schedules import kl_warmup_factor, learning_rate_factor
from vae.training.state import TrainingState, load_state

FINITE_CHECK_STEPS = 50
"""A diverged loss is noticed within this many steps; asking at each one would stall a GPU."""
LABEL_KEEP_RATE = 0.5
"""Share of the labels that a conditional VAE is given while it trains (label dropout)."""


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
    validation: ImageSet,
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
    train, validation = train.to(device), validation.to(device)
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
    unlabelled = UnlabelledScores(validation.images)
    while state.epoch < config.training.max_epochs:
        metrics = _train_epoch(state, train)
        state.epoch += 1
        started = time.perf_counter()
        state.model.eval()
        metrics |= evaluate_panel(state.model, validation.images, config.loss, unlabelled=unlabelled)
        finite = math.isfinite(metrics["train_loss"]) and math.isfinite(metrics["val_loss"])
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
    sums = torch.zeros(3, device=device)
    learning_rate = 0.0
    model.train()
    started = time.perf_counter()
    for step, index in enumerate(order.split(training.batch_size)):
        epochs_done = state.epoch + step / steps
        learning_rate = training.learning_rate * learning_rate_factor(
            training.schedule, epochs_done, training.schedule_epochs, training.milestones
        )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        batch = to_unit(images.index_select(0, index))  # 4x as fast as images[index]
        batch = apply_geometric(batch, training.augmentations, generator)
        seen = batch if pool is None else add_noise(batch, pool, generator)
        labels = _drop_labels(data, index, generator) if model.n_classes else None
        noise = torch.randn(len(batch), model.latent_dim, generator=generator, device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bfloat16"):
            posterior = model.encode(seen, labels)
            logits = model.decode(posterior.sample(noise), labels)
        loss = vae_loss(
            logits,
            batch,
            posterior,
            config.loss,
            kl_factor=kl_warmup_factor(epochs_done, config.loss.kl_warmup_epochs),
            balance=state.balance if config.loss.balance_losses else None,
            pixel_log_variance=model.pixel_log_variance,
        )
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        sums += len(batch) * torch.stack(
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


def _drop_labels(data: ImageSet, index: Tensor, generator: torch.Generator) -> Tensor:
    """Return the labels of a batch with some dropped (label dropout): embeddings are made without labels."""
    assert data.labels is not None
    labels = data.labels.index_select(0, index)
    kept = torch.rand(len(labels), generator=generator, device=labels.device) < LABEL_KEEP_RATE
    return labels.where(kept, NO_LABEL)


def _epoch_seed(seed: int, epoch: int) -> int:
    """Return a 63-bit seed for one epoch of one run; neighbouring seeds share nothing."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0]) >> 1
