"""What `study.json` says about where a result came from: code, versions, hardware."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

SOURCE = Path(__file__).resolve().parents[2]
LIBRARIES = ("torch", "ray", "optuna", "numpy", "scikit-learn", "umap-learn", "pyarrow", "vae-search")


def code_version() -> dict[str, Any]:
    """Return the git commit and whether the working tree differs from it; None where there is no checkout."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != SOURCE:  # installed into somebody else's repository
        return {"sha": None, "dirty": None}
    changes = _git("status", "--porcelain")
    return {"sha": _git("rev-parse", "HEAD"), "dirty": None if changes is None else bool(changes)}


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the libraries that decide the numbers."""
    return {"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES}


def hardware() -> dict[str, Any]:
    """Describe this machine."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "gpus": gpus,
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(SOURCE), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
