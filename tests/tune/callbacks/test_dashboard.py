"""A search seen through Ray's dashboard and its Prometheus endpoint while it runs, and ended by SIGTERM."""

import http.client
import json
import re
import signal
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.processes import start_tune, wait_for
from tests.tune.conftest import SMALL_SPACE, open_journal
from tune.cluster.session import TOKEN
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table
from vae.checkpoint import load_model

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TRIAL_ID = r"\d{4}-(fc|conv)-\d+d"


@dataclass
class Seen:
    """What was seen from outside."""

    job: dict[str, Any] = field(default_factory=dict)
    actors: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    titles: set[str] = field(default_factory=set)
    listeners: set[str] = field(default_factory=set)
    refused: list[int] = field(default_factory=list)
    job_log: str = ""
    trial_log: str = ""
    watched: str = ""
    code: int | None = None
    output: str = ""
    errors: str = ""
    run: RunDirectory = field(default_factory=lambda: RunDirectory("nowhere"))


def fetch(url: str, **parameters: str) -> str:
    request = urllib.request.Request(f"{url}?{urllib.parse.urlencode(parameters)}")
    request.add_header("Authorization", f"Bearer {TOKEN.read_text().strip()}")
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.read().decode()


def refusal(url: str, body: bytes | None = None, **headers: str) -> int:
    """Return the HTTP status of a request that should not get in."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def look(url: str, process: psutil.Process, seen: Seen) -> bool:
    """Take in what there is; True when there is everything."""
    children = process.children(recursive=True)
    for child in children:
        try:
            title = " ".join(child.cmdline()).strip()
            listening = [c.laddr.ip for c in child.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        except psutil.Error:
            continue
        seen.listeners.update(listening)
        if re.fullmatch(f"ray::{TRIAL_ID}", title):
            seen.titles.add(title.removeprefix("ray::"))
    seen.job = json.loads(fetch(f"{url}/api/jobs/"))[0]
    job = json.dumps({"entrypoint": "true"}).encode()
    wrong = f"Bearer {'0' * 64}"
    seen.refused = [refusal(f"{url}/api/jobs/"), refusal(f"{url}/api/jobs/", job)]
    seen.refused += [refusal(f"{url}/api/jobs/", body, Authorization=wrong) for body in (None, job)]
    actors = json.loads(fetch(f"{url}/api/v0/actors", detail="1"))
    seen.actors = actors["data"]["result"]["result"] or seen.actors
    node = json.loads(fetch(f"{url}/api/prometheus/sd"))[0]["targets"][0]  # others are those of the head
    for family in text_string_to_metric_families(fetch(f"http://{node}/metrics")):
        for sample in family.samples:
            seen.metrics.setdefault(sample.name, []).append(sample.labels)
    if seen.titles and "epoch 15," not in seen.trial_log:
        node, trial_id = seen.job["driver_node_id"], min(seen.titles)
        file = f"{url}/api/v0/logs/file"
        seen.trial_log = fetch(file, node_id=node, filename=f"trial-run-{trial_id}.log", format="text")
    if "none" not in seen.job["message"]:
        seen.job_log = fetch(
            f"{url}/api/v0/logs/file",
            node_id=seen.job["driver_node_id"],
            filename="job-driver-run.log",
            format="text",
        )
    enough = len(seen.titles) > 2 and "epoch 15," in seen.trial_log and bool(seen.job_log)
    return enough and "ray_vae_trial_epoch" in seen.metrics


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    directory: Path = tmp_path_factory.mktemp("dashboard")
    (directory / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE))
    trials = ["--trials", "9", "--max-epochs", "120", "--scheduler", "none", "--max-concurrent", "2"]
    search = start_tune(
        *("search", "--dataset", "digits", "--space", "space.yaml", "--name", "run", "--no-evaluate"),
        *trials,
        cwd=directory,
        dashboard=True,
        RAY_metrics_report_interval_ms="1000",
    )
    assert search.stdout is not None
    url = next(line.split()[1] for line in search.stdout if line.startswith("dashboard"))
    watch = start_tune("status", "runs/run", "--watch", cwd=directory)
    seen, process = Seen(run=RunDirectory(directory / "runs" / "run")), psutil.Process(search.pid)

    def seen_everything() -> bool:
        time.sleep(1)
        try:
            return look(url, process, seen)
        except (OSError, http.client.HTTPException) as error:  # not all of Ray is up from the first moment
            print(error)
            return False

    wait_for(seen_everything, search)
    search.send_signal(signal.SIGTERM)
    seen.output, seen.errors = search.communicate(timeout=300)
    seen.code = search.returncode
    seen.watched, errors = watch.communicate(timeout=300)
    assert watch.returncode == 0, errors
    return seen


def test_the_study_is_a_job_with_its_name_objective_and_best_so_far(seen):
    assert seen.job["submission_id"] == "run"
    assert seen.job["status"] == "RUNNING"
    metadata = seen.job["metadata"]
    assert metadata["job_name"] == metadata["study"] == "run"
    assert metadata["dataset"] == "digits"
    assert metadata["objective"] == "val_knn_accuracy"
    assert re.fullmatch(rf"0\.\d{{4}} by {TRIAL_ID}", metadata["best"])
    assert re.fullmatch(r"\d of 9", metadata["trials"])
    assert seen.job["message"] == f"best {metadata['best']}, {metadata['trials']} trials ended"


def test_who_has_no_token_neither_sees_nor_submits_a_job(seen):
    assert seen.refused == [401, 401, 403, 403]


def test_the_jobs_log_opens(seen):
    assert re.search(rf"best 0\.\d{{4}} by {TRIAL_ID}, \d of 9 trials ended", seen.job_log)


def test_the_actors_are_called_after_their_trials(seen):
    assert {actor["class_name"] for actor in seen.actors} == {"Trial"}
    assert all(re.fullmatch(f"{TRIAL_ID} and later", actor["repr_name"]) for actor in seen.actors)


def test_their_processes_take_the_name_of_each_trial_in_turn(seen):
    assert len(seen.titles) > len(seen.actors)


def test_the_log_of_a_trial_opens_under_its_name(seen):
    lines = seen.trial_log.splitlines()
    assert f"{min(seen.titles)} process" in lines[0]
    assert "'latent_dim'" in lines[0]
    assert re.search(r"epoch 15, val_knn_accuracy 0\.\d+", lines[1])


def test_metrics_of_study_and_trials_reach_the_prometheus_endpoint(seen):
    of_trial = {"objective", "best_objective", "epoch", "images_per_second"}
    for name in (*(f"ray_vae_trial_{what}" for what in of_trial), "ray_vae_checkpoint_bytes_total"):
        assert all(labels["study"] == "run" for labels in seen.metrics[name])
        assert all(re.fullmatch(TRIAL_ID, labels["trial"]) for labels in seen.metrics[name])
    assert {"running", "pending", "completed"} <= {
        labels["status"] for labels in seen.metrics["ray_vae_trials"]
    }
    assert {"ray_vae_best_objective", "ray_vae_images_total"} <= seen.metrics.keys()


def test_ray_counts_cpu_and_memory_by_trial(seen):
    components = {labels["Component"] for labels in seen.metrics["ray_component_rss_bytes"]}
    assert any(re.fullmatch(f"ray::{TRIAL_ID}", component) for component in components)


def test_nothing_listens_to_other_machines(seen):
    assert {address.removeprefix("::ffff:") for address in seen.listeners} == {"127.0.0.1"}


def test_the_watch_ends_with_the_study_and_a_table(seen):
    lines = seen.watched.splitlines()
    assert re.match(r"run: running, .* of 9", lines[0])
    assert any(line.startswith("run: interrupted") for line in lines)
    assert sum(bool(re.search(TRIAL_ID, line)) for line in lines) >= len(seen.titles)


def test_sigterm_leaves_everything_written(seen):
    """`test_resume.py` has Ctrl-C."""
    run = seen.run
    assert seen.code == 130, seen.errors
    assert "Traceback" not in seen.errors
    assert f"what was done is in {run.path}" in seen.output
    assert run.read_study().status == "interrupted"
    trials = {row["number"]: row for row in read_table(run.trials_file).to_pylist()}
    epochs = [(row["trial_id"], row["epoch"]) for row in read_table(run.epochs_file).to_pylist()]
    assert sorted(set(epochs)) == sorted(epochs)
    states = {("completed", None): "COMPLETE", ("stopped_early", "interrupted"): "WAITING"}
    optuna_trials = open_journal(run.path).trials
    assert {number: states[row["status"], row["stop_reason"]] for number, row in trials.items()} == {
        trial.number: trial.state.name for trial in optuna_trials
    }
    assert "WAITING" in {trial.state.name for trial in optuna_trials}
    for row in trials.values():
        if row["epochs"]:
            assert load_model(run.path / row["checkpoint"]).epoch == row["best_epoch"]
