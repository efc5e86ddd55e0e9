"""How near `tune plan` comes: six searches, their time and what they keep, foretold and then measured.

`python -m tests.benchmarks.plan_accuracy USPS.npz MNIST.npz` runs each plan and then its search, one after
the other, on a machine that should have nothing else to do.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "days": 86400.0}
BYTES = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
SMALL = str(Path(__file__).parent / "label_free.yaml")


def cases(usps: str, mnist: str) -> dict[str, list[str]]:
    """Return the options of each search by its name."""
    return {
        "fmnist": ["--dataset", "fmnist", "--trials", "20", "--budget", "100000"],
        "fmnist-small": ["--dataset", "fmnist", "--trials", "40", "--budget", "200000", "--space", SMALL],
        "usps": ["--dataset", usps, "--trials", "40", "--budget", "100000"],
        "usps-random": ["--dataset", usps, "--trials", "16", "--max-epochs", "16", "--sampler", "random"],
        "mnist-median": ["--dataset", mnist, "--trials", "12", "--budget", "100000", "--scheduler", "median"],
        "mnist-whole": ["--dataset", mnist, "--trials", "8", "--max-epochs", "1", "--scheduler", "none"],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each search and the median errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("usps", help="the .npz of USPS")
    parser.add_argument("mnist", help="the .npz of MNIST")
    arguments = parser.parse_args(argv)
    time_errors, byte_errors = [], []
    for name, options in cases(arguments.usps, arguments.mnist).items():
        with tempfile.TemporaryDirectory() as storage:
            where = ["--storage", storage, "--no-evaluate", "--no-dashboard", *options]
            plan = _run("plan", *where)
            seconds, low, high = _numbers(plan, "search", SECONDS)
            kept, _ = _numbers(plan, "checkpoints", BYTES)
            started = time.perf_counter()
            _run("search", "--name", name, *where)
            took = time.perf_counter() - started
            files = (Path(storage) / name / "checkpoints").rglob("*")
            size = sum(path.stat().st_size for path in files if path.is_file())
        time_errors.append(seconds / took - 1)
        byte_errors.append(kept / size - 1)
        print(
            f"{name:<14} {seconds:4.0f} s ({low:.0f} to {high:.0f}), took {took:4.0f} s: "
            f"{time_errors[-1]:+.0%}; "
            f"{kept / 1e6:.0f} MB kept, were {size / 1e6:.0f} MB: {byte_errors[-1]:+.0%}",
            flush=True,
        )
    for what, errors in (("time", time_errors), ("bytes", byte_errors)):
        print(f"median error of the {what}: {median(map(abs, errors)):.0%}")
    return 0


def _run(command: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tune", command, *options], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command} {' '.join(options)}\n{done.stdout}{done.stderr}")
    return done.stdout


def _numbers(text: str, title: str, units: dict[str, float]) -> list[float]:
    """Return the quantities in the line with this title."""
    line = next(line for line in text.splitlines() if line.startswith(title))
    found = re.findall(rf"([\d.]+) ({'|'.join(units)})\b", line)
    return [float(number) * units[unit] for number, unit in found]


if __name__ == "__main__":
    sys.exit(main())
