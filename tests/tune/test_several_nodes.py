"""Searches on three simulated nodes: two at once, and one whose nodes break or are killed."""

import json
import subprocess
import sys
from collections import Counter

import psutil
import pytest
import yaml

from evaluation.run_directory import RunDirectory
from evaluation.tables import read_table
from tests.processes import SOURCE, STATES, own_environment, runs_trials, start_tune, wait_for
from tests.simulated_cluster import simulated_cluster
from tests.tune.conftest import SMALL_SPACE, open_journal

pytestmark = [pytest.mark.ray, pytest.mark.slow]

N_TRIALS, MAX_EPOCHS = 5, 6
OPTIONS = ["search", "--dataset", "digits", "--space", "space.yaml", "--no-evaluate", "--scheduler", "none"]
OPTIONS += ["--trials", str(N_TRIALS), "--max-epochs", str(MAX_EPOCHS), "--name", "run"]


@pytest.fixture(scope="module")
def cluster():
    with simulated_cluster(3) as cluster:
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
    for place, seed, slots in (("one", "1", "1"), ("other", "2", "2")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE | {"batch_size": 32}))
        words = [*OPTIONS, "--address", cluster.address, "--seed", seed, "--max-concurrent", slots]
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


def test_a_trial_moves_on_from_a_broken_node_and_from_one_that_is_lost(cluster, tmp_path):
    broken, lost, _ = cluster.nodes
    log = tmp_path / "log"
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE))
    given = {"log": str(log), "pause_s": 0.7, "broken": broken.node_id}
    (tmp_path / "deaths.json").write_text(json.dumps(given))
    search = subprocess.Popen(
        [sys.executable, "-m", "tests.tune.deaths", "deaths.json", *OPTIONS, "--address", cluster.address],
        cwd=tmp_path,
        env=own_environment() | {"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def lines(*beginning):
        found = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        return [line for line in found if tuple(line[: len(beginning)]) == beginning]

    def starts_on(node):
        return [line for line in lines("start") if line[2] == node.node_id]

    def in_the_middle():
        return any(len(lines("epoch", start[1])) >= 2 for start in starts_on(lost))

    wait_for(in_the_middle, search)
    lost.kill()
    _, number, _, pid = starts_on(lost)[-1]
    before = [int(line[2]) for line in lines("epoch", number) if line[3] == pid]
    out, err = search.communicate(timeout=400)
    assert search.returncode == 0, (out, err)
    check_complete(RunDirectory(tmp_path / "runs" / "run"))

    died = {line[1] for line in starts_on(broken)}
    assert died
    assert len(starts_on(broken)) == len(died), "a trial was tried again where it had died"
    after = [int(line[2]) for line in lines("epoch", number) if line[3] != pid]
    assert after == list(range(after[0], MAX_EPOCHS + 1))
    assert before[-1] <= after[0] <= before[-1] + 1  # no more than the epoch under way is trained again
    for one in map(str, range(N_TRIALS)):
        if one != number:
            assert [int(line[2]) for line in lines("epoch", one)] == list(range(1, MAX_EPOCHS + 1))


def test_nothing_of_them_is_left_on_the_nodes(cluster):
    """Runs after the searches; the nodes are the cluster's."""
    nodes = [psutil.Process(node.pid) for node in cluster.nodes if psutil.pid_exists(node.pid)]
    left = [child for node in nodes if node.status() != "zombie" for child in node.children(recursive=True)]
    assert not [child for child in left if runs_trials(child)]
