"""One driver at a time, and no lock that outlives its holder."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tune.storage.lock import driver_lock, is_held
from tune.storage.run_directory import RunDirectory
from vae.errors import StorageError, UsageError

HOLD = """
import sys, time
from pathlib import Path
from tune.storage.run_directory import RunDirectory
from tune.storage.lock import driver_lock
with driver_lock(RunDirectory(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path):
    session = {"pid": 4711, "host": "node-a", "started_at": "2026-01-02T03:04:05+00:00"}
    (tmp_path / "study.json").write_text(json.dumps({"name": "run", "sessions": [session]}))
    return RunDirectory(tmp_path)


PROBE = """
import sys
from pathlib import Path
from tune.storage.run_directory import RunDirectory
from tune.storage.lock import is_held
run = RunDirectory(Path(sys.argv[1]))
print("probing", flush=True)
while True:
    is_held(run)
"""


@contextmanager
def process(script: str, run: RunDirectory, first_line: str) -> Iterator[subprocess.Popen]:
    """A process that does something with a run directory, from its first line on."""
    source = Path(__file__).resolve().parents[3]
    started = subprocess.Popen(
        [sys.executable, "-c", script, str(run.path)], cwd=source, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout.readline() == first_line
    yield started
    started.kill()
    started.wait()


@pytest.fixture
def holder(run):
    with process(HOLD, run, "held\n") as started:
        yield started


@pytest.fixture
def prober(run):
    """A process that looks all the time whether a driver is at work."""
    with process(PROBE, run, "probing\n") as started:
        yield started


def test_a_second_driver_is_refused_and_told_who_is_at_work(run, holder):
    with (
        pytest.raises(UsageError, match="process 4711 on node-a, since 2026-01-02T03:04:05"),
        driver_lock(run),
    ):
        pass
    assert is_held(run)


def test_the_lock_of_a_killed_driver_is_free(run, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    deadline = time.monotonic() + 5
    while is_held(run) and time.monotonic() < deadline:
        time.sleep(0.05)
    with driver_lock(run):
        assert is_held(run)
    assert not is_held(run)


def test_a_place_that_cannot_be_written_is_an_error_of_storage(tmp_path):
    (tmp_path / "file").touch()
    run = RunDirectory(tmp_path / "file" / "run")
    with pytest.raises(StorageError, match="cannot write"), driver_lock(run):
        pass


def test_whoever_looks_never_keeps_a_driver_out(run, prober):
    for _ in range(200):
        with driver_lock(run):
            pass
    assert prober.poll() is None


def test_two_that_look_do_not_take_each_other_for_a_driver(run, prober):
    with driver_lock(run):
        pass
    assert not any(is_held(run) for _ in range(1000))


def test_a_driver_is_seen_in_a_directory_that_is_read_only(run, holder):
    run.driver_file.chmod(0o444)
    run.path.chmod(0o555)
    try:
        before = sorted(run.path.iterdir())
        assert is_held(run)
        assert sorted(run.path.iterdir()) == before
    finally:
        run.path.chmod(0o755)


def test_looking_at_a_directory_without_the_file_makes_none(run):
    assert not is_held(run)
    assert [path.name for path in run.path.iterdir()] == ["study.json"]
