"""The checks of `gpu_check`: each yields rows that say whether they passed."""

import itertools
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tests.benchmarks.bare_machine import MISSING
from vae.config import ARCHITECTURES, OPTIMIZERS, PRECISIONS, RECONSTRUCTION_LOSSES, Config
from vae.data import ImageSet
from vae.errors import is_out_of_memory
from vae.metrics.neighbors import find_neighbors
from vae.training.gpu_usage import measure_gpu_usage
from vae.training.loop import FINITE_CHECK_STEPS, TrainResult, train

TOLERANCE = {"float32": 0.01, "bfloat16": 0.03}
"""Largest relative difference of a loss after an epoch between GPU and CPU, from the same draws.

A GPU sums in another order and rounds what convolutions are given to 11 bits in float32 (TF32); in bfloat16
both round to 8 bits, at different places. On the CPU, weights changed at random by as much before the epoch,
5e-4 and 4e-3 of each, move a loss by at most 5e-4 and 3.5e-3; a GPU rounds in every step.
"""


class Skipped(Exception):
    """A check that cannot be made here; its message says why."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and on what the checks run."""

    device: torch.device
    small: bool
    digits: tuple[ImageSet, ImageSet]
    """Training and validation images of 8×8."""
    clothes: tuple[ImageSet, ImageSet]
    """The same of 28×28: Fashion-MNIST if it is here, otherwise noise."""

    def config(self, **params: Any) -> Config:
        batch_size = 64 if self.small else 256
        return Config.from_params({"batch_size": batch_size, "ssim_window": 5, "max_epochs": 1} | params)

    def train(self, config: Config, *, clothes: bool = False, **options: Any) -> TrainResult:
        images = self.clothes if clothes else self.digits
        return train(config, *images, device=self.device, **options)


class CpuDraws(TorchFunctionMode):
    """Draws every random number on the CPU, so that a training on the GPU has the same as one on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.generators: dict[int, tuple[torch.Generator, torch.Generator]] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        generator = kwargs.get("generator")
        if generator is None or generator.device.type == "cpu":
            return function(*args, **kwargs)
        if id(generator) not in self.generators:
            on_cpu = torch.Generator().manual_seed(generator.initial_seed())
            self.generators[id(generator)] = generator, on_cpu  # kept, so that no other gets its id
        _, on_cpu = self.generators[id(generator)]
        if args and isinstance(args[0], Tensor):  # x.normal_(…)
            drawn = function(args[0].cpu(), *args[1:], **kwargs | {"generator": on_cpu})
            return args[0].copy_(drawn)
        return function(*args, **kwargs | {"generator": on_cpu, "device": "cpu"}).to(kwargs["device"])


def results(bench: Bench) -> Iterator[dict[str, Any]]:
    """An epoch of every architecture × loss × precision ends where it ends on the CPU."""
    cases = list(itertools.product(ARCHITECTURES, RECONSTRUCTION_LOSSES, PRECISIONS))
    if bench.small:  # each of them once, at least
        cases = [case for number, case in enumerate(cases) if number % 7 == 0]
    for architecture, loss, precision in cases:
        config = bench.config(
            architecture=architecture, reconstruction_loss=loss, precision=precision, batch_size=64
        )
        expected = train(config, *bench.digits).history[-1]
        with CpuDraws():
            found = bench.train(config).history[-1]
        difference = max(
            abs(found[name] - expected[name]) / abs(expected[name]) for name in ("train_loss", "val_loss")
        )
        yield {
            "passed": difference <= TOLERANCE[precision],
            **{"architecture": architecture, "loss": loss, "precision": precision},
            **{"difference": difference, "tolerance": TOLERANCE[precision]},
            **{"val_loss": found["val_loss"], "cpu_val_loss": expected["val_loss"]},
        }


def speed(bench: Bench) -> Iterator[dict[str, Any]]:
    """Epochs per second at 28×28, and the share of the time that the GPU computes."""
    epochs = 2 if bench.small else 4
    for architecture, precision in itertools.product(ARCHITECTURES, PRECISIONS):
        if bench.small and precision == "bfloat16" and architecture != "fc":
            continue
        width = 0.1 if bench.small else 1.0
        config = bench.config(
            architecture=architecture, precision=precision, max_epochs=epochs, width=width, learning_rate=1e-4
        )
        history = bench.train(config, clothes=True).history[1:]  # the first one allocates and chooses kernels
        n_images = len(bench.clothes[0])
        rates = [metrics["images_per_second"] / n_images for metrics in history]
        usage = None
        if bench.device.type == "cuda":
            usage = measure_gpu_usage(config, *bench.clothes, device=bench.device)
        yield {
            "passed": all(np.isfinite(metrics["val_loss"]) for metrics in history),
            **{"architecture": architecture, "precision": precision, "images": n_images},
            **{"batch_size": config.training.batch_size, "epochs_per_second": max(rates)},
            "epoch_seconds_with_validation": min(metrics["epoch_seconds"] for metrics in history),
            "gpu_busy": usage and usage.busy,
            "memory_bytes": usage and usage.memory_bytes,
        }


def waits(bench: Bench) -> Iterator[dict[str, Any]]:
    """The steps of an epoch do not wait for the GPU, but for one in fifty and at its end."""
    if bench.device.type != "cuda":
        raise Skipped("torch says only of a GPU when it is waited for")
    config = bench.config(batch_size=16)
    steps = -(-len(bench.digits[0]) // 16)
    bench.train(config)  # what is constant is copied to the GPU by now
    with warnings.catch_warnings(record=True) as caught, _sync_warnings():
        warnings.simplefilter("always")
        bench.train(config)
    found = [Path(str(each.filename)).name for each in caught if "synchroniz" in str(each.message)]
    expected = steps // FINITE_CHECK_STEPS + 1
    n = found.count("loop.py")
    yield {"passed": n <= expected + 2, "waits": n, "expected": expected, "steps": steps, "at": found}


@contextmanager
def _sync_warnings() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("warn")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def neighbors(bench: Bench) -> Iterator[dict[str, Any]]:
    """The distances are scikit-learn's, the neighbours those of the CPU, equal distances included."""
    n, m = (500, 50) if bench.small else (20_000, 2_000)
    for dim, whole in itertools.product((2, 10, 64), (False, True)):
        draw = np.random.default_rng(0)
        points = draw.standard_normal((n + m, dim)).astype(np.float32)
        if whole:  # many distances are equal, and many points
            points = points.round()
        reference, query = points[:n], points[n:]
        distance, _ = NearestNeighbors(n_neighbors=10).fit(reference).kneighbors(query)
        started = time.perf_counter()
        expected = find_neighbors(reference, query, 10, backend="numpy")
        cpu_seconds = time.perf_counter() - started
        there = [torch.from_numpy(part).to(bench.device) for part in (reference, query)]
        find_neighbors(*there, 10, backend="torch")
        started = time.perf_counter()
        found = find_neighbors(*there, 10, backend="torch")
        seconds = time.perf_counter() - started
        same = float((found.index == expected.index).mean())
        close = np.allclose(found.distance, distance, rtol=1e-5, atol=1e-4)
        # Two distances that differ in the last bit of float32 may change places.
        yield {
            "passed": bool(close) and same >= (1.0 if whole else 0.9999),
            **{"dim": dim, "whole_numbers": whole, "same_neighbors": same},
            **{"seconds": seconds, "cpu_seconds": cpu_seconds},
        }


def resume(bench: Bench) -> Iterator[dict[str, Any]]:
    """Two epochs are one and, resumed from its checkpoint, another."""
    on_disk = "safetensors" not in MISSING
    cases = [("fc", "adam"), ("conv", "rmsprop")]
    for architecture, optimizer in cases if bench.small else itertools.product(("fc", "conv"), OPTIMIZERS):
        config = bench.config(
            architecture=architecture, optimizer=optimizer, max_epochs=2, batch_size=64, learning_rate=1e-3
        )
        whole, again = bench.train(config), bench.train(config)
        with tempfile.TemporaryDirectory() as directory:
            states: list[Any] = []

            def stop(end: Any, states: list[Any] = states, directory: str = directory) -> bool:
                states.append(end.state)
                if on_disk:
                    end.state.save(Path(directory))
                return True

            bench.train(config, on_report=stop)
            resumed = bench.train(config, resume_from=Path(directory) if on_disk else states[0])
        apart = _difference(whole, resumed)
        yield {
            "passed": apart == 0 or apart <= TOLERANCE["float32"],
            **{"architecture": architecture, "optimizer": optimizer, "checkpoint_on_disk": on_disk},
            "exactness": "same bits" if apart == 0 else f"weights differ by {apart:.1e} of their norm",
            "same_bits_without_resuming": _difference(whole, again) == 0,
        }


def _difference(one: TrainResult, other: TrainResult) -> float:
    """Return the norm of the difference of two models' weights, relative to that of the weights."""
    a, b = (torch.cat([p.detach().flatten() for p in result.model.parameters()]) for result in (one, other))
    return float((a - b).norm() / a.norm())


def out_of_memory(bench: Bench) -> Iterator[dict[str, Any]]:
    """A training that does not fit ends in an error that is known as such, and the next one runs."""
    cuda = bench.device.type == "cuda"
    # On the CPU a layer that no memory holds, on the GPU little memory to hold them.
    config = bench.config(architecture="conv" if cuda else "fc", width=4.0 if cuda else 1e10)
    if cuda:
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(bench.device).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**25) / total)
    error: BaseException | None = None
    try:
        bench.train(config, clothes=cuda)
    except (RuntimeError, MemoryError) as raised:
        error = raised.with_traceback(None)  # which holds the tensors
    finally:
        if cuda:
            torch.cuda.set_per_process_memory_fraction(1.0)
            torch.cuda.empty_cache()
    bench.train(bench.config())
    yield {"passed": is_out_of_memory(error), "error": f"{type(error).__name__}: {error}"[:300]}


def sharing(bench: Bench) -> Iterator[dict[str, Any]]:
    """How many trials of the largest model of the default space share this GPU."""
    if bench.device.type != "cuda":
        raise Skipped("there is no GPU to share")
    try:
        from tune.gpu_sharing import share_of, trials_per_gpu
        from tune.space.file import DEFAULT_SPACE, load_space
        from tune.space.largest_model import largest_config
    except ImportError as missing:
        raise Skipped(f"{missing.name} is not installed") from None

    train_images, validation = bench.clothes
    config = largest_config(load_space(DEFAULT_SPACE), train_images.image_shape, train_images.n_classes)
    usage = measure_gpu_usage(config, train_images, validation, device=bench.device)
    assert usage is not None
    n = trials_per_gpu(usage)
    yield {"passed": n >= 1, "trials_per_gpu": n, "share": share_of(n), **asdict(usage), **config.to_params()}


CHECKS: tuple[Callable[[Bench], Iterator[dict[str, Any]]], ...] = (
    results,
    resume,
    out_of_memory,
    neighbors,
    waits,
    sharing,
    speed,
)
