"""The command line in a process of its own, and what its end must have told Optuna."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

STATES = {"completed": "COMPLETE", "stopped_early": "PRUNED", "failed": "FAIL"}
"""Optuna's state for each status of a trial that has ended."""
SOURCE = Path(__file__).resolve().parents[1]
COMMAND = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
from tune.__main__ import main
from vae.command_line import run
run(main)
"""


def start_tune(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Start `python -m tune …` from another directory; its workers must find the packages all the same.

    Without the dashboard, ten processes that would only slow down what is tested.
    """
    quick = [] if arguments[0] == "status" else ["--no-dashboard"]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments, *quick],
        cwd=cwd,
        # What Tune logs is soon on disk.
        env=own_environment() | {"TUNE_GLOBAL_CHECKPOINT_S": "0.5"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 240.0) -> None:
    """Wait until ``condition`` holds, as long as the process lives."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def own_environment() -> dict[str, str]:
    """Return the environment without Ray's variables: another test's cluster is not its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
