"""The command line in a process of its own, and what its end must have told Optuna."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

SOURCE = Path(__file__).resolve().parents[1]
COMMAND = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
from tune.__main__ import main
from vae.command_line import run
run(main)
"""
WITHOUT_FIGURES = COMMAND.replace(
    "run(main)", "from evaluation.report import page\npage.write_figures = lambda *_, **__: None\nrun(main)"
)
"""The same when nobody looks at the report: figures are most of its time."""


def start_tune(
    *arguments: str, cwd: Path, dashboard: bool = False, figures: bool = False, **environment: str
) -> subprocess.Popen[str]:
    """Start `python -m tune …` from another directory; its workers must find the packages all the same.

    Mostly without the dashboard, ten processes that would only slow down what is tested, and without figures.
    """
    status = arguments[0] == "status"
    quick = [] if dashboard or status else ["--no-dashboard"]
    command = COMMAND if figures or status else WITHOUT_FIGURES
    return subprocess.Popen(
        [sys.executable, "-c", command, *arguments, *quick],
        cwd=cwd,
        # What Tune logs is soon on disk.
        env=own_environment() | {"TUNE_GLOBAL_CHECKPOINT_S": "0.5"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def optuna_state(row: Mapping[str, Any]) -> str:
    """Return Optuna's state of a trial that has ended, given its row."""
    if row["status"] == "failed":
        return "PRUNED" if row["stop_reason"] in ("nan", "collapsed") else "FAIL"
    return {"completed": "COMPLETE", "stopped_early": "PRUNED"}[row["status"]]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 240.0) -> None:
    """Wait until ``condition`` holds, as long as the process lives."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "\n".join(process.communicate())
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def own_environment() -> dict[str, str]:
    """Return the environment without Ray's variables: another test's cluster is not its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def runs_trials(process: psutil.Process) -> bool:
    """Whether a process is a worker that trials run in: it is called after them or after their class."""
    return re.match(r"ray::(Trial\b|\d{4}-)", " ".join(process.cmdline())) is not None
