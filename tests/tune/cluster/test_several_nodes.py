"""Searches on simulated nodes: two at once, and some whose nodes break, are killed or announce their end."""

import json
import socket
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from tests.processes import SOURCE, optuna_state, own_environment, wait_for
from tests.simulated_cluster import simulated_cluster
from tests.tune.conftest import SMALL_SPACE, open_journal
from tune import spot_notice
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table

pytestmark = [pytest.mark.ray, pytest.mark.slow]

N_TRIALS, MAX_EPOCHS = 4, 5
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


def check_complete(run, n_trials=N_TRIALS):
    """Every trial has trained its full budget, and each epoch has one row."""
    rows, epochs = read(run)
    assert [row["number"] for row in rows] == list(range(n_trials))
    assert {row["status"] for row in rows} == {"completed"}
    expected = {(row["trial_id"], epoch): 1 for row in rows for epoch in range(1, MAX_EPOCHS + 1)}
    assert Counter((row["trial_id"], row["epoch"]) for row in epochs) == expected
    optuna_trials = open_journal(run.path).trials
    assert [trial.state.name for trial in optuna_trials] == [optuna_state(row) for row in rows]
    assert [trial.user_attrs["trial_id"] for trial in optuna_trials] == [row["trial_id"] for row in rows]


class Search:
    """A search with `tests.tune.deaths`, and what its trials have done so far."""

    def __init__(self, cluster, directory, *options, **given):
        directory.mkdir(exist_ok=True)
        self.log = directory / "log"
        (directory / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE))
        (directory / "deaths.json").write_text(json.dumps({"log": str(self.log), **given}))
        command = [sys.executable, "-m", "tests.tune.deaths", "deaths.json", *OPTIONS, *options]
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

    def early_on(self, node):
        """Return number and process of a trial that has just trained two epochs there, if there is one."""
        return next((s[1::2] for s in self.starts_on(node) if len(self.lines("epoch", s[1])) == 2), None)

    def trained(self, number):
        return [int(line[2]) for line in self.lines("epoch", str(number))]

    def end(self):
        out, err = self.process.communicate(timeout=400)
        assert self.process.returncode == 0, f"{out}\n{err}"


def test_two_studies_of_one_name_share_a_cluster(cluster, tmp_path):
    """At the same time, if neither takes all of it: a study keeps its workers from one trial to the next."""
    places, options = [tmp_path / "one", tmp_path / "other"], ("--max-concurrent", "1", "--trials", "2")
    searches = [
        Search(cluster, place, *options, "--seed", str(seed), waits_for=str(other / "log"))
        for seed, (place, other) in enumerate([places, places[::-1]])
    ]
    for search in searches:
        search.end()
        check_complete(search.run, n_trials=2)
    first, second = ([row["config_learning_rate"] for row in read(search.run)[0]] for search in searches)
    assert not set(first) & set(second)


class Metadata(BaseHTTPRequestHandler):
    """What a machine of AWS learns about itself, as far as spot machines go."""

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


def watch(node, url):
    command = [
        sys.executable,
        "-m",
        "tune.spot_notice",
        "--metadata",
        url,
        "--raylet",
        str(node.pid),
        "--every-s",
        "0.2",
    ]
    return subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@dataclass(frozen=True)
class Story:
    """A search on four nodes: on the first all trials die, the second is killed, AWS takes the third."""

    search: Search
    of_lost: tuple[str, str]
    of_taken: tuple[str, str]
    starts_on_taken: int
    watched: str


@pytest.fixture(scope="module")
def story(cluster, tmp_path_factory):
    broken, lost, taken, _ = cluster.nodes
    metadata = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    metadata.notice = None
    threading.Thread(target=metadata.serve_forever, daemon=True).start()
    watcher = watch(taken, f"http://127.0.0.1:{metadata.server_port}")
    search = Search(cluster, tmp_path_factory.mktemp("story"), pause_s=2.0, broken=broken.node_id)
    wait_for(lambda: search.early_on(lost), search.process)
    of_lost = search.early_on(lost)
    lost.kill()
    wait_for(lambda: search.early_on(taken), search.process)
    of_taken = search.early_on(taken)
    assert watcher.poll() is None
    soon = datetime.now(UTC) + timedelta(seconds=120)
    metadata.notice = {"action": "terminate", "time": f"{soon:%Y-%m-%dT%H:%M:%SZ}"}
    watched, _ = watcher.communicate(timeout=60)
    assert watcher.returncode == 0, watched
    starts = len(search.starts_on(taken))
    search.end()
    metadata.shutdown()
    return Story(search, of_lost, of_taken, starts, watched)


def test_such_a_search_is_complete(story):
    check_complete(story.search.run)


def test_where_a_trial_has_died_at_once_it_is_not_tried_again(story, cluster):
    starts = story.search.starts_on(cluster.nodes[0])
    assert starts
    assert len(starts) == len({number for _, number, *_ in starts})


def test_a_lost_node_costs_no_more_than_the_epoch_under_way(story):
    number, pid = story.of_lost
    lines = story.search.lines("epoch", number)
    before = [int(line[2]) for line in lines if line[3] == pid]
    after = [int(line[2]) for line in lines if line[3] != pid]
    assert after == list(range(after[0], MAX_EPOCHS + 1))
    assert before[-1] <= after[0] <= before[-1] + 1


def test_trials_leave_a_spot_machine_after_their_epoch_before_it_is_taken(story, cluster):
    number, _ = story.of_taken
    assert f"asked ray::{number.zfill(4)}-" in story.watched
    on_the_way = len(story.search.lines("start", number, cluster.nodes[0].node_id))  # where all die at once
    was_on_lost_node = number == story.of_lost[0]
    assert len(story.search.lines("start", number)) == 2 + on_the_way + was_on_lost_node
    assert len(story.search.starts_on(cluster.nodes[2])) == story.starts_on_taken


def test_of_all_others_no_epoch_is_trained_twice(story):
    for number in {str(number) for number in range(N_TRIALS)} - {story.of_lost[0]}:
        assert story.search.trained(number) == list(range(1, MAX_EPOCHS + 1))


def test_the_watch_ends_where_there_is_nothing_to_watch(cluster):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        watcher = watch(cluster.nodes[-1], f"http://127.0.0.1:{unused.getsockname()[1]}")
        out, _ = watcher.communicate(timeout=60)
    assert (watcher.returncode, out.splitlines()[-1][:24]) == (0, "not a machine of AWS (<u")


def test_without_ray_there_is_no_watch(capsys):
    assert spot_notice.main(["--raylet", "1", "--wait-s", "0"]) == 1
    assert capsys.readouterr().err == "error: Ray does not run here\n"
