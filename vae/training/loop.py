"""The training loop. Images live on the device as bytes; a batch is an index, never an object per image."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae.config import Config, epochs_of
from vae.data import ImageSet
from vae.errors import UsageError
from vae.losses.ssim import check_window
from vae.models import VAE, ImageShape, build_model, check_image_shape
from vae.training.augmentation import noise_pool
from vae.training.moves import check_moves
from vae.training.schedules import kl_warmup_factor, learning_rate_factor, warmup_factor
from vae.training.state import TrainingState, load_state
from vae.training.step import batch_loss, draw_batch
from vae.training.validation import Knn, Validation

FINITE_CHECK_STEPS = 50
"""A diverged loss is noticed within this many steps; asking at each one would stall a GPU."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `train` hands to its callback after each epoch, or wherever it was asked to report."""

    images: int
    """Training images seen so far: those after which a report was due; the step that reached them is done."""
    epoch: float
    """The same in epochs, 1 after the first; whole numbers are int."""
    metrics: dict[str, float]
    stop_reason: str | None
    state: TrainingState
    quick: bool = False
    """Whether only a part of the validation images was used."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A trained model, its metrics at each report, and why it ended early (None: it ran the full budget)."""

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
    knn: Knn | None = None,
    on_report: Callable[[Report], bool | None] | None = None,
    report_at: Sequence[int] = (),
    quick_until: int = 0,
) -> TrainResult:
    """Train one VAE.

    A run that stops after a report and resumes ends with the same weights, bit for bit on the CPU, as one
    that never stopped; where it reports changes nothing either.

    Parameters
    ----------
    validation
        The images that the neutral panel is measured on at each report; None measures nothing.
    resume_from
        A state, whose config counts, or the directory that its ``save`` wrote; training continues after its
        last report.
    knn
        Measures ``val_knn_accuracy`` at each report, see `vae.metrics.validation_knn.ValidationKnn`.
    on_report
        Called at each report; returning True ends the training.
    report_at
        After how many training images there is a report, rising; by default after each epoch. The end of the
        training is always reported.
    quick_until
        Reports before so many images are quick looks, see `Validation`.

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
    n = len(train)
    seen = state.epoch * n if state.images is None else state.images
    measure = None if validation is None else Validation(validation.images, config.loss, knn)
    history: list[dict[str, float]] = []
    for images in _reports_due(report_at, images_of(config, n), n, config.training.batch_size):
        if images <= seen:
            continue
        metrics = _train_until(images, state, train)
        state.images, quick = images, images < quick_until
        started = time.perf_counter()
        state.model.eval()
        finite = math.isfinite(metrics["train_loss"])
        if measure is not None:
            metrics |= measure(state.model, quick=quick)
            finite = finite and math.isfinite(metrics["val_loss"])
        metrics["validation_seconds"] = time.perf_counter() - started
        metrics["epoch_seconds"] += metrics["validation_seconds"]
        history.append(metrics)
        stop_reason = None if finite else "nan"
        report = Report(images, epochs_of(images, n), metrics, stop_reason, state, quick)
        stop = on_report is not None and on_report(report)
        if stop_reason or stop:
            return TrainResult(state.model, config, history, stop_reason or "callback")
    return TrainResult(state.model, config, history)


def images_of(config: Config, n_train: int) -> int:
    """Return how many images the whole training sees, of a set of so many."""
    return round(config.training.max_epochs * n_train)


def _reports_due(report_at: Sequence[int], total: int, n_train: int, batch_size: int) -> list[int]:
    """Return when reports are due; of several that are reached in one step, the last."""
    steps = math.ceil(n_train / batch_size)

    def step_of(images: int) -> int:
        return images // n_train * steps + math.ceil(images % n_train / batch_size)

    due = [images for images in report_at or range(n_train, total, n_train) if images < total]
    return list({step_of(images): images for images in [*due, total]}.values())


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
    check_moves(config.training, image_shape)


def _train_until(images: int, state: TrainingState, data: ImageSet) -> dict[str, float]:
    """Train until so many images have been seen, and return the metrics of what was trained."""
    sums, done = torch.zeros(3, device=data.images.device), Steps()
    state.model.train()
    started = time.perf_counter()
    while _seen(state, len(data)) < images and done.finite:
        _train_epoch(images, state, data, sums, done)
    # Waits for the device, so that the clock below is right.
    train_loss, reconstruction_loss, kl = (sums / done.images).tolist()
    seconds = time.perf_counter() - started
    return {
        "train_loss": train_loss,
        "train_reconstruction_loss": reconstruction_loss,
        "train_kl": kl,
        "learning_rate": done.learning_rate,
        "epoch_seconds": seconds,
        "images_per_second": done.images / seconds,
    }


@dataclass(slots=True)
class Steps:
    """The steps since the last report."""

    images: int = 0
    learning_rate: float = 0.0
    """Of the last one."""
    finite: bool = True


def _seen(state: TrainingState, n_train: int) -> int:
    return state.epoch * n_train + state.step * state.config.training.batch_size


def _train_epoch(until: int, state: TrainingState, data: ImageSet, sums: Tensor, done: Steps) -> None:
    """Train to the end of the epoch, or until so many images have been seen; add up the losses."""
    config, model, optimizer, images = state.config, state.model, state.optimizer, data.images
    training, device, n = config.training, images.device, len(images)
    steps = math.ceil(n / training.batch_size)
    generator = torch.Generator(device).manual_seed(_epoch_seed(training.seed, state.epoch))
    order = torch.randperm(n, generator=generator, device=device)
    pool = noise_pool(generator) if "noise" in training.augmentations else None
    if state.generator_state is not None:
        generator.set_state(state.generator_state)
    kl_weight = torch.zeros((), device=device)
    for step, index in enumerate(order.split(training.batch_size)[state.step :], start=state.step):
        epochs_done = state.epoch + step / steps
        done.learning_rate = training.learning_rate * learning_rate_factor(
            training.schedule, epochs_done, training.schedule_epochs, training.milestones
        )
        done.learning_rate *= warmup_factor(state.epoch * steps + step, training.warmup_steps)
        for group in optimizer.param_groups:
            group["lr"].fill_(done.learning_rate)
        kl_weight.fill_(config.loss.kl_weight * kl_warmup_factor(epochs_done, config.loss.kl_warmup_epochs))
        batch = draw_batch(data, index, model, training, pool, generator)
        loss = batch_loss(model, batch, config, kl_weight, state.balance)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        sums += len(index) * torch.stack(
            (loss.total.detach(), loss.reconstruction.detach(), loss.kl.detach())
        )
        done.images += len(index)
        state.step += 1
        if step % FINITE_CHECK_STEPS == FINITE_CHECK_STEPS - 1 and not sums[0].isfinite():
            done.finite = False
            return
        if state.step < steps and _seen(state, n) >= until:
            state.generator_state = generator.get_state()
            return
    state.epoch, state.step, state.generator_state = state.epoch + 1, 0, None


def _epoch_seed(seed: int, epoch: int) -> int:
    """Return a 63-bit seed for one epoch of one run; neighbouring seeds share nothing."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0]) >> 1
