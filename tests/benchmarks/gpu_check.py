"""What only a GPU can show, in one command: is it right, how fast is it, and what does it have room for?

Run with `make gpu-check`, or on a machine with nothing but this tree, torch, numpy and scikit-learn, with

    python -m tests.benchmarks.gpu_check --output gpu_check.json

It takes less than eight minutes, and no check stops another. Without safetensors the training is resumed from
memory, not from a checkpoint; without Ray and PyYAML the number of trials that share a GPU is not measured;
the output says so. Without a GPU it runs on the CPU, which tests the command: with `--small`, in seconds.
"""

import argparse
import itertools
import json
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tests.benchmarks.bare_machine import MISSING
from vae.config import ARCHITECTURES, OPTIMIZERS, PRECISIONS, RECONSTRUCTION_LOSSES, Config
from vae.data import ImageSet, load_dataset
from vae.data.dataset import split_validation
from vae.errors import Error, is_out_of_memory
from vae.metrics.neighbors import find_neighbors
from vae.training.gpu_usage import measure_gpu_usage
from vae.training.loop import FINITE_CHECK_STEPS, TrainResult, train

LIMIT_S = 440.0
"""No check begins later than this; what has been measured is kept."""
TOLERANCE = {"float32": 0.01, "bfloat16": 0.03}
"""Largest relative difference of a validation loss after an epoch between GPU and CPU, from the same draws.

A GPU sums in another order and rounds what convolutions are given to 11 bits in float32 (TF32); in bfloat16
both round to 8 bits, at different places. Adam amplifies this, as it divides by the size of small gradients.
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
    """The nearest neighbours are scikit-learn's, equal distances included."""
    n, m = (500, 50) if bench.small else (20_000, 2_000)
    for dim, whole in itertools.product((2, 10, 64), (False, True)):
        draw = np.random.default_rng(0)
        points = draw.standard_normal((n + m, dim)).astype(np.float32)
        if whole:  # many distances are equal, and many points
            points = points.round()
        reference, query = points[:n], points[n:]
        started = time.perf_counter()
        expected = find_neighbors(reference, query, 10, backend="scikit-learn")
        cpu_seconds = time.perf_counter() - started
        there = [torch.from_numpy(part).to(bench.device) for part in (reference, query)]
        find_neighbors(*there, 10, backend="torch")
        started = time.perf_counter()
        found = find_neighbors(*there, 10, backend="torch")
        seconds = time.perf_counter() - started
        same = float((found.index == expected.index).mean())
        close = np.allclose(found.distance, expected.distance, rtol=1e-5, atol=1e-6)
        # Two distances that differ in the last bit of float32 may change places.
        yield {
            "passed": bool(close) and same >= (1.0 if whole else 0.9999),
            **{"dim": dim, "whole_numbers": whole, "same_neighbors": same},
            **{"seconds": seconds, "scikit_learn_seconds": cpu_seconds},
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

            bench.train(config, on_epoch_end=stop)
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
    if missing := [name for name in ("yaml", "ray", "rich") if find_spec(name) is None]:
        raise Skipped(f"{', '.join(missing)} not installed")
    from tune.gpu_sharing import share_of, trials_per_gpu
    from tune.space.file import DEFAULT_SPACE, load_space
    from tune.space.largest_model import largest_config

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


def run(check: Callable[[Bench], Iterator[dict[str, Any]]], bench: Bench) -> dict[str, Any]:
    """Return what a check found, whatever becomes of it."""
    started, rows, error, skipped = time.perf_counter(), [], None, None
    try:
        rows.extend(check(bench))
    except Skipped as reason:
        skipped = str(reason)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"[:2000]
    passed = error is None and all(row["passed"] for row in rows) and bool(rows or skipped)
    seconds = round(time.perf_counter() - started, 2)
    found = {"name": check.__name__, "passed": passed, "seconds": seconds}
    return found | {"skipped": skipped, "error": error, "rows": rows}


def set_up(device: str, *, small: bool) -> Bench:
    """Return the bench with its images."""
    digits = split_validation(load_dataset("digits").train, seed=0)
    parts = (digits.train, digits.validation)
    if small:
        parts = (digits.train.subset(torch.arange(150)), digits.validation.subset(torch.arange(50)))
    return Bench(torch.device(device), small, parts, _clothes(small))


def _clothes(small: bool) -> tuple[ImageSet, ImageSet]:
    try:
        if small:
            raise FileNotFoundError("noise will do")
        split = split_validation(load_dataset("fmnist", download=False).train, seed=0)
    except (Error, OSError):
        draw = np.random.default_rng(0)
        n, m = (300, 100) if small else (50_000, 10_000)
        images = torch.from_numpy(draw.integers(256, size=(n + m, 1, 28, 28), dtype=np.uint8))
        labels = torch.from_numpy(draw.integers(10, size=n + m))
        return ImageSet(images[:n], labels[:n]), ImageSet(images[n:], labels[n:])
    return split.train, split.validation


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the figures are of."""
    cuda = device.type == "cuda"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if cuda else None,
        "gpu_memory_bytes": torch.cuda.get_device_properties(device).total_memory if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "missing": MISSING,
    }


def main(arguments: list[str] | None = None) -> int:
    """Make the checks, write them after each one, and return 0 if all have passed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=usual, help="where to compute (default here: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("gpu_check.json"), help="default: %(default)s")
    parser.add_argument("--small", action="store_true", help="little of everything, to test the command")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    bench = set_up(options.device, small=options.small)
    report = machine(bench.device) | {"small": options.small, "images_28x28": len(bench.clothes[0])}
    checks: list[dict[str, Any]] = []
    for check in CHECKS:
        if time.perf_counter() - started > LIMIT_S:
            found = {"name": check.__name__, "passed": False, "error": f"no time left after {LIMIT_S:.0f} s"}
        else:
            found = run(check, bench)
        checks.append(found)
        passed = all(each["passed"] for each in checks) and len(checks) == len(CHECKS)
        seconds = round(time.perf_counter() - started, 1)
        content = report | {"passed": passed, "seconds": seconds, "checks": checks}
        options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        print(_line(found), flush=True)
    print(
        f"{bench.device}, {report['gpu'] or 'no GPU'}, torch {report['torch']}, {seconds} s: {options.output}"
    )
    return 0 if passed else 1


def _line(found: dict[str, Any]) -> str:
    rows = found.get("rows", [])
    bad = [row for row in rows if not row["passed"]]
    verdict = "skipped" if found.get("skipped") else "passed" if found["passed"] else "FAILED"
    why = (
        found.get("skipped") or found.get("error") or (f"{len(bad)} of {len(rows)}: {bad[0]}" if bad else "")
    )
    return f"{found['name']:14} {verdict:8} {found.get('seconds', 0):6.1f} s  {why}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
