"""How much of a GPU one training uses, memory and share of the time: measured in three short epochs."""

import time
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from vae.config import Config, ModelConfig
from vae.data import ImageSet
from vae.models import ImageShape, build_model, count_parameters
from vae.training.loop import Report, train
from vae.training.validation import Knn

STEPS = 50
"""Of a measured epoch, at most."""
WARM_UP, TIMED, TRACED = 1, 2, 3
"""The epochs: the first pays for allocations and the choice of kernels, tracing slows the last one down."""
LEARNING_RATE = 1e-4
"""Low, as a model that diverges would end the measurement; it has no other influence."""
FLOATS_PER_PARAMETER = 4
"""The weight, its gradient and two moments of Adam."""


@dataclass(frozen=True, slots=True)
class GpuUsage:
    """What one training uses of its GPU."""

    memory_bytes: int
    """All that the process allocates, CUDA itself included."""
    total_bytes: int
    """Of the GPU."""
    busy: float | None
    """Share of the time in which it computes; None if it cannot be traced."""


def measure_gpu_usage(
    config: Config,
    train_images: ImageSet,
    validation_images: ImageSet,
    *,
    device: str | torch.device = "cuda",
    knn: Knn | None = None,
) -> GpuUsage | None:
    """Train for three short epochs, validation included; None on a CPU, where there is nothing to measure.

    Nobody else should use the GPU meanwhile: what others occupy counts as well.

    Parameters
    ----------
    config
        Of the model that is to be trained; its number of epochs and its learning rate do not matter.
    train_images, validation_images
        All that the training would have on the device. The epochs use the first `STEPS` batches and as large
        a part of the validation images.
    knn
        As for `train`: what a trial computes on the device after each epoch.
    """
    device = torch.device(device)
    training = replace(config.training, max_epochs=TRACED, learning_rate=LEARNING_RATE)
    train_images, validation_images = train_images.to(device), validation_images.to(device)
    n = min(len(train_images), STEPS * training.batch_size)
    n_validation = max(1, round(len(validation_images) * n / len(train_images)))
    trace, ended = _Trace(device), {}

    def on_report(end: Report) -> None:
        ended[end.epoch] = trace.now()
        if end.epoch == TIMED:
            trace.start()
        elif end.epoch == TRACED:
            trace.stop()

    train(
        replace(config, training=training),
        _first(train_images, n),
        _first(validation_images, n_validation),
        device=device,
        knn=knn,
        on_report=on_report,
    )
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    freed = torch.cuda.max_memory_reserved(device) - torch.cuda.memory_reserved(device)
    seconds = ended[TIMED] - ended[WARM_UP]
    busy = min(1.0, trace.kernel_seconds / seconds) if trace.kernel_seconds else None
    return GpuUsage(total - free + freed, total, busy)


def training_floats(config: ModelConfig, batch_size: int, image_shape: ImageShape, n_classes: int = 0) -> int:
    """Return about how many floats a training step holds: parameters, optimiser, activations of a batch.

    It ranks models by the memory that they need; a convolution's workspace is not counted, for example.
    """
    model = build_model(config, image_shape, n_classes=n_classes)
    activations = 0

    def count(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal activations
        activations += output.numel() if isinstance(output, torch.Tensor) else 0

    hooks = [m.register_forward_hook(count) for m in model.modules() if not list(m.children())]
    with torch.no_grad():
        model.eval().decode(model.encode(torch.zeros(1, *image_shape)).mean)
    for hook in hooks:
        hook.remove()
    return FLOATS_PER_PARAMETER * count_parameters(model) + batch_size * activations


def _first(images: ImageSet, n: int) -> ImageSet:
    return ImageSet(images.images[:n], None if images.labels is None else images.labels[:n])


class _Trace:
    """A clock that waits for the device, and the seconds that its kernels took between start and stop."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.profile = profile(activities=[ProfilerActivity.CUDA if self.cuda else ProfilerActivity.CPU])
        self.kernel_seconds = 0.0

    def now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def start(self) -> None:
        self.profile.start()

    def stop(self) -> None:
        self.profile.stop()
        events = self.profile.key_averages()
        self.kernel_seconds = sum(event.self_device_time_total for event in events) / 1e6
