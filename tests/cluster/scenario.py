"""`ray up`, a study, a host that is lost and comes back, results home, `ray down`: run by `__main__.py`."""

import json
import socket
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from evaluation.run_directory import RunDirectory
from evaluation.tables import read_table
from tests import soak
from tests.cluster import steps
from tests.cluster.hosts import HOME, SHARED, Host, Hosts
from tests.cluster.local_config import cloud_config, on_premises, with_worker_options

BEGUN = time.monotonic()
DASHBOARD_PORT = 8265
DASHBOARD = f"http://localhost:{DASHBOARD_PORT}"
LOG_LINES = 60
NAME = "soak"
SEED = 0
WORKER_OPTIONS = "--num-cpus=1 --num-gpus=1"
"""One trial at a time, and a GPU that only Ray's books know."""
SEARCH = (
    f"--dataset digits --space my.yaml --trials {soak.N_TRIALS} --max-epochs {soak.MAX_EPOCHS} "
    f"--grace-period {soak.GRACE_PERIOD} --seed {SEED} --no-evaluate"
)
LINES_BEFORE_THE_CUT = 40
"""Of the journal: some trials have ended, most are still to come."""
GONE = ("raylet", "gcs_server")


class Cluster:
    """The hosts as a user of the README has them: by commands on the client."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        head, *workers = hosts.machines
        config = on_premises(
            cloud_config(),
            {
                "provider": {
                    "type": "local",
                    "head_ip": head.address,
                    "worker_ips": [worker.address for worker in workers],
                },
                "auth": {"ssh_user": "root", "ssh_private_key": "~/.ssh/id_ed25519"},
            },
        )
        config = with_worker_options(config, WORKER_OPTIONS)
        self.home = hosts.client.view / HOME.relative_to("/")
        (self.home / "cluster.yaml").write_text(yaml.safe_dump(config))
        self.run_directory = RunDirectory(hosts.shared / "runs" / NAME)

    def say(self, what: str) -> None:
        print(f"{time.monotonic() - BEGUN:5.0f} s  {what}", flush=True)

    def start(self, step: str) -> subprocess.Popen[str]:
        """Start a command of the README, with the names of this test."""
        command = step.replace("s3://BUCKET/vae-search", f"{SHARED}/runs").replace("NAME", NAME)
        command = command.replace("my.yaml", f"{HOME}/my.yaml", 1).replace(" runs/", f" {HOME}/runs/")
        command = command.replace("cluster.yaml", f"{HOME}/cluster.yaml").replace(".venv/bin/", "")
        return self.hosts.run(command, RAY_UP_enable_autoscaler_v2="0")

    def do(self, step: str) -> str:
        """Run a command of the README to its end and return what it prints."""
        process = self.start(step)
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0, f"{step} failed:\n{out}"
        return out

    @property
    def token(self) -> str:
        return (self.home / ".ray" / "auth_token").read_text()

    def ask(self, path: str, token: str | None = None, data: bytes | None = None) -> tuple[int, Any]:
        """Send a request through the tunnel; returns status and answer."""
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {token}"} if token is not None else {}
        )
        request = urllib.request.Request(DASHBOARD + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, None

    def nodes(self) -> set[str]:
        """Return the addresses of the workers that are alive."""
        _, answer = self.ask("/api/v0/nodes", self.token)
        rows = answer["data"]["result"]["result"]
        return {row["node_ip"] for row in rows if row["state"] == "ALIVE" and not row["is_head_node"]}

    def job(self) -> str:
        return str(self.ask(f"/api/jobs/{NAME}", self.token)[1]["status"])

    def wait(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.5)
        self.say(what)

    def lines(self) -> int:
        file = self.run_directory.journal_file
        return file.read_bytes().count(b"\n") if file.exists() else 0


def play(cluster: Cluster) -> None:
    """Go through the README's section, with an accident."""
    head, kept, lost = cluster.hosts.machines
    cluster.do(steps.MAKE_TOKEN)
    cluster.do(steps.UP)
    cluster.say("the head is up")
    tunnel = cluster.start(steps.DASHBOARD)
    cluster.wait(lambda: answers(cluster), "the dashboard answers through the tunnel", 30)
    check_locks(cluster, head)
    cluster.say("nobody gets in without the token")
    cluster.wait(lambda: cluster.nodes() == {kept.address, lost.address}, "both workers have joined", 120)
    cluster.say(cluster.do(steps.STATUS).strip())

    (cluster.home / "my.yaml").write_text(yaml.safe_dump(soak.SPACE, sort_keys=False))
    cluster.do(steps.SEND)
    cluster.do(f'{steps.SUBMIT[:-1]} {SEARCH}"')
    cluster.wait(lambda: cluster.lines() >= LINES_BEFORE_THE_CUT, "the search is under way", 120)
    lost.cut_off()
    cluster.say(f"{lost.name} is cut off")
    cluster.wait(lambda: cluster.nodes() == {kept.address}, "the cluster has noticed", 120)
    lost.reconnect()
    cluster.wait(lambda: cluster.nodes() == {kept.address, lost.address}, f"{lost.name} is back", 120)
    cluster.wait(lambda: cluster.job() not in ("PENDING", "RUNNING"), "the job has ended", 200)
    assert cluster.job() == "SUCCEEDED"

    cluster.do(steps.FETCH)
    home = RunDirectory(cluster.home / "runs" / NAME)
    soak.check(home)
    check_nodes(home, kept, lost)
    cluster.say("every invariant holds for what was brought home")
    cluster.do(steps.DOWN)
    cluster.wait(lambda: not left_over(), "`ray down` has left nothing running", 90)
    tunnel.kill()


def answers(cluster: Cluster) -> bool:
    try:
        return cluster.ask("/api/version", cluster.token)[0] == 200
    except OSError:
        return False


def check_locks(cluster: Cluster, head: Host) -> None:
    """No request gets in without the token, and the dashboard's port is closed from outside."""
    job = json.dumps({"entrypoint": "touch /shared/broken-in"}).encode()
    for token, status in ((None, 401), ("0" * 64, 403)):
        assert cluster.ask("/api/jobs/", token)[0] == status
        assert cluster.ask("/api/jobs/", token, job)[0] == status
    assert cluster.ask("/api/jobs/", cluster.token) == (200, [])
    assert not (cluster.hosts.shared / "broken-in").exists()
    try:
        socket.create_connection((head.address, DASHBOARD_PORT), timeout=5).close()
    except ConnectionRefusedError:
        pass
    else:
        raise AssertionError("the dashboard can be reached without SSH")


def check_nodes(run: RunDirectory, *workers: Host) -> None:
    """Every worker has ended trials."""
    nodes = {row["node"] for row in read_table(run.trials_file).to_pylist()}
    assert nodes == {worker.name for worker in workers}, nodes


def left_over() -> list[str]:
    """Return what of Ray still runs on the hosts; they are inside this process's namespace."""
    return [process.info["name"] for process in psutil.process_iter(["name"]) if process.info["name"] in GONE]


def explain(cluster: Cluster) -> None:
    """Print what the head has to say about a failure."""
    head = cluster.hosts.machines[0]
    logs = head.view / "tmp/ray/session_latest/logs"
    for log in (logs / "monitor.log", logs / "monitor.out", logs / f"job-driver-{NAME}.log"):
        if log.exists():
            print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-LOG_LINES:], sep="\n")


def main() -> int:
    directory, debs = map(Path, sys.argv[1:])
    hosts = Hosts(directory, debs, ["head", "worker-1", "worker-2"])
    cluster = Cluster(hosts)
    cluster.say("three hosts answer on SSH's port")
    try:
        play(cluster)
    except Exception:
        traceback.print_exc()
        explain(cluster)
        return 1
    print(f"cluster test passed in {time.monotonic() - BEGUN:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
