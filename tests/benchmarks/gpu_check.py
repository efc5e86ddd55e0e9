"""What only a GPU can show, in one command: is it right, how fast is it, and what does it have room for?

Run with `make gpu-check`, or on a machine with nothing but this tree, torch, numpy and scikit-learn, with

    python -m tests.benchmarks.gpu_check --output gpu_check.json

It takes less than eight minutes, and no check stops another. Without safetensors the training is resumed from
memory, not from a checkpoint; without Ray and PyYAML the number of trials that share a GPU is not measured;
the output says so. Without a GPU it runs on the CPU, which tests the command: with `--small`, in seconds.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks.bare_machine import MISSING
from tests.benchmarks.gpu_checks import CHECKS, Bench, Skipped
from vae.data import ImageSet, load_dataset
from vae.data.splits import split_validation
from vae.errors import Error

LIMIT_S = 440.0
"""No check begins later than this; what has been measured is kept."""


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
