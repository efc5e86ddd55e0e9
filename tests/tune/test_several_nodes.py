"""Searches on simulated nodes: two at once, and some whose nodes break, are killed or announce their end."""

import json
import socket
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from evaluation.run_directory import RunDirectory
from evaluation.tables import read_table
from tests.processes import SOURCE, STATES, own_environment, start_tune, wait_for
from tests.simulated_cluster import simulated_cluster
from tests.tune.conftest import SMALL_SPACE, open_journal

pytestmark = [pytest.mark.ray, pytest.mark.slow]

N_TRIALS, MAX_EPOCHS = 5, 6
OPTIONS = ["search", "--dataset", "digits", "--space", "space.yaml", "--no-evaluate", "--scheduler", "none"]
ENVIRONMENT = own_environment() | {"PYTHONPATH": str(SOURCE), "RAY_AUTH_MODE": "token"}
OPTIONS += ["--trials", str(N_TRIALS), "--max-epochs", str(MAX_EPOCHS), "--name", "run"]


@pytest.fixture(scope="module")
def cluster():
    """A cluster of nodes one of which stays as it is, whichever of the tests have run before."""
    with simulated_cluster(4) as cluster:
        yield cluster


def read(run):
    rows = sorted(read_table(run.trials_file).to_pylist(), key=lambda row: row["number"])
    return rows, read_table(run.epochs_file).to_pylist()


def check_complete(run):
    """Every trial has trained its full budget, and each epoch has one row."""
    rows, epochs = read(run)
    assert [row["number"] for row in rows] == list(range(N_TRIALS))
    assert {row["status"] for row in rows} == {"completed"}
    expected = {(row["trial_id"], epoch): 1 for row in rows for epoch in range(1, MAX_EPOCHS + 1)}
    assert Counter((row["trial_id"], row["epoch"]) for row in epochs) == expected
    told = open_journal(run.path).trials
    assert [trial.state.name for trial in told] == [STATES[row["status"]] for row in rows]
    assert [trial.user_attrs["trial_id"] for trial in told] == [row["trial_id"] for row in rows]


def test_two_studies_of_one_name_share_a_cluster(cluster, tmp_path):
    """At the same time, if neither takes all of it: a study keeps its workers from one trial to the next."""
    searches = []
    for place, seed in (("one", "1"), ("other", "2")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE | {"batch_size": 32}))
        words = [*OPTIONS, "--address", cluster.address, "--seed", seed, "--max-concurrent", "1"]
        searches.append(start_tune(*words, cwd=tmp_path / place))
    ended = [search.communicate(timeout=400) for search in searches]
    assert [search.returncode for search in searches] == [0, 0], ended
    runs = [RunDirectory(tmp_path / place / "runs" / "run") for place in ("one", "other")]
    began, finished = [], []
    for run in runs:
        check_complete(run)
        rows, _ = read(run)
        began.append(min(row["started_at"] for row in rows))
        finished.append(max(row["finished_at"] for row in rows))
    assert max(began) < min(finished), "one had to wait for the other to end"
    first, second = ([row["config_learning_rate"] for row in read(run)[0]] for run in runs)
    assert not set(first) & set(second)


class Search:
    """A search with `tests.tune.deaths`, and what its trials have done so far."""

    def __init__(self, cluster, directory, **given):
        self.log = directory / "log"
        (directory / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE))
        (directory / "deaths.json").write_text(json.dumps({"log": str(self.log), "pause_s": 0.7, **given}))
        command = [sys.executable, "-m", "tests.tune.deaths", "deaths.json", *OPTIONS]
        self.process = subprocess.Popen(
            [*command, "--address", cluster.address],
            cwd=directory,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.run = RunDirectory(directory / "runs" / "run")

    def lines(self, *beginning):
        found = [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [line for line in found if tuple(line[: len(beginning)]) == beginning]

    def starts_on(self, node):
        return [line for line in self.lines("start") if line[2] == node.node_id]

    def wait_for_epochs_on(self, node):
        """Wait until a trial is in its third epoch there, and return its number and its process."""

        def under_way():
            return [s for s in self.starts_on(node) if 2 <= len(self.lines("epoch", s[1])) < MAX_EPOCHS - 1]

        wait_for(under_way, self.process)
        _, number, _, pid = under_way()[0]
        return number, pid

    def trained(self, number):
        return [int(line[2]) for line in self.lines("epoch", str(number))]

    def end(self):
        out, err = self.process.communicate(timeout=400)
        assert self.process.returncode == 0, (out, err)
        check_complete(self.run)


def test_a_trial_moves_on_from_a_broken_node_and_from_one_that_is_lost(cluster, tmp_path):
    broken, lost, *_ = cluster.nodes
    search = Search(cluster, tmp_path, broken=broken.node_id)
    number, pid = search.wait_for_epochs_on(lost)
    lost.kill()
    before = [int(line[2]) for line in search.lines("epoch", number) if line[3] == pid]
    search.end()
    died = {line[1] for line in search.starts_on(broken)}
    assert died
    assert len(search.starts_on(broken)) == len(died), "a trial was tried again where it had died"
    after = [int(line[2]) for line in search.lines("epoch", number) if line[3] != pid]
    assert after == list(range(after[0], MAX_EPOCHS + 1))
    assert before[-1] <= after[0] <= before[-1] + 1  # no more than the epoch under way is trained again
    others = {str(other) for other in range(N_TRIALS)} - {number}
    assert all(search.trained(other) == list(range(1, MAX_EPOCHS + 1)) for other in others)


class Metadata(BaseHTTPRequestHandler):
    """What a machine of AWS is told about itself, as far as spot machines go."""

    def do_PUT(self):
        asked = self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.answer(200 if asked and self.path == "/latest/api/token" else 400, "secret")

    def do_GET(self):
        if self.headers["X-aws-ec2-metadata-token"] != "secret":
            self.answer(401)
        elif self.path == "/latest/meta-data/spot/instance-action" and self.server.notice:
            self.answer(200, json.dumps(self.server.notice))
        else:
            self.answer(404)

    def answer(self, status, body=""):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *words):
        pass


@pytest.fixture
def metadata():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    server.notice = None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def watch(node, url):
    command = [sys.executable, "-m", "tune.spot_notice", "--metadata", url, "--raylet", str(node.pid)]
    return subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_trials_leave_a_spot_machine_after_their_epoch_before_it_is_taken(cluster, tmp_path, metadata):
    _, _, taken, _ = cluster.nodes
    watcher = watch(taken, f"http://127.0.0.1:{metadata.server_port}")
    search = Search(cluster, tmp_path)
    number, _ = search.wait_for_epochs_on(taken)
    assert watcher.poll() is None
    soon = datetime.now(UTC) + timedelta(seconds=120)
    metadata.notice = {"action": "terminate", "time": f"{soon:%Y-%m-%dT%H:%M:%SZ}"}
    out, _ = watcher.communicate(timeout=60)
    assert watcher.returncode == 0, out
    starts = len(search.starts_on(taken))
    search.end()
    assert f"asked ray::{number.zfill(4)}-" in out
    assert len(search.starts_on(taken)) == starts, "a trial was put on a machine that will be taken"
    assert len(search.lines("start", number)) == 2
    for each in range(N_TRIALS):  # nothing is lost, nothing trained twice
        assert search.trained(each) == list(range(1, MAX_EPOCHS + 1))


def test_the_watch_ends_where_there_is_nothing_to_watch(cluster):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        watcher = watch(cluster.nodes[-1], f"http://127.0.0.1:{unused.getsockname()[1]}")
        out, _ = watcher.communicate(timeout=60)
    assert (watcher.returncode, out.splitlines()[-1][:24]) == (0, "not a machine of AWS (<u")
