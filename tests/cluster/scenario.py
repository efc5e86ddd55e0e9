"""`ray up`, a study, a host that is lost and comes back, results home, `ray down`: run by `__main__.py`."""

import json
import signal
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

from tests import soak
from tests.cluster import steps
from tests.cluster.hosts import SHARED, Host, Hosts
from tests.cluster.local_config import cloud_config, on_premises, with_worker_options
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table

BEGUN = time.monotonic()
DASHBOARD_PORT = 8265
DASHBOARD = f"http://localhost:{DASHBOARD_PORT}"
LOG_LINES = 60
STEP_S = 300
"""No step takes longer, on a busy machine either."""
NAME = "soak"
SEED = 0
WORKER_OPTIONS = "--num-cpus=1 --num-gpus=1"
"""One trial at a time, and a GPU that only Ray's books know."""
N_LATER = 4
"""Trials of the study that are added when the lost host is back."""
SEARCH = (
    f"--dataset digits --space my.yaml --trials {soak.N_TRIALS - N_LATER} --max-epochs {soak.MAX_EPOCHS} "
    f"--grace-period {soak.GRACE_PERIOD} --seed {SEED} --no-evaluate"
)
LINES_BEFORE_THE_CUT = 30
"""Of the journal: some epochs are in, most are still to come."""
GONE = ("raylet", "gcs_server")


class Cluster:
    """The hosts as a reader of docs/cluster.md uses them: by commands on the client."""

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
        (hosts.checkout / "cluster.yaml").write_text(yaml.safe_dump(config))
        self.run_directory = RunDirectory(hosts.shared / "runs" / NAME)

    def say(self, what: str) -> None:
        print(f"{time.monotonic() - BEGUN:5.0f} s  {what}", flush=True)

    def start(self, step: str) -> subprocess.Popen[str]:
        """Start a command of the page, with the names of this test."""
        command = step.replace("s3://BUCKET/vae-search", f"{SHARED}/runs").replace("NAME", NAME)
        command = command.replace(".venv/bin/", "")  # on the PATH
        return self.hosts.run(command, RAY_UP_enable_autoscaler_v2="0")

    def do(self, step: str) -> str:
        """Run a command of the page to its end and return what it prints."""
        process = self.start(step)
        out, _ = process.communicate(timeout=STEP_S)
        assert process.returncode == 0, "\n".join([step, *out.splitlines()[-LOG_LINES:]])
        return out

    @property
    def token(self) -> str:
        return (self.hosts.client.home / ".ray" / "auth_token").read_text()

    def ask(self, path: str, token: str | None = None, data: bytes | None = None) -> tuple[int, Any]:
        """Send a request through the tunnel; returns status and answer."""
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {token}"} if token is not None else {}
        )
        request = urllib.request.Request(DASHBOARD + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, None

    def nodes(self) -> set[str]:
        """Return the addresses of the workers that are alive."""
        _, answer = self.ask("/api/v0/nodes", self.token)
        rows = answer["data"]["result"]["result"]
        return {row["node_ip"] for row in rows if row["state"] == "ALIVE" and not row["is_head_node"]}

    def job(self, name: str = NAME) -> str:
        return str(self.ask(f"/api/jobs/{name}", self.token)[1]["status"])

    def ended(self, name: str = NAME) -> bool:
        return self.job(name) not in ("PENDING", "RUNNING")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + STEP_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.5)
        self.say(what)

    def lines(self) -> int:
        file = self.run_directory.journal_file
        return file.read_bytes().count(b"\n") if file.exists() else 0


def play(cluster: Cluster) -> None:
    """Go through docs/cluster.md, with an accident."""
    head, kept, lost = cluster.hosts.machines
    cluster.do(steps.MAKE_TOKEN)
    cluster.do(steps.UP)
    cluster.say("the head is up")
    tunnel = cluster.start(steps.DASHBOARD)
    cluster.wait(lambda: answers(cluster), "the dashboard answers through the tunnel")
    stranger = cluster.hosts.run(
        f"python -m tune search --dataset digits --address {head.address}", HOME="/tmp"
    )
    check_locks(cluster, head)
    cluster.wait(lambda: cluster.nodes() == {kept.address, lost.address}, "both workers have joined")
    check_stranger(stranger)
    cluster.say("nobody got in without the token")
    cluster.wait(lambda: "0.0/2.0 GPU" in cluster.do(steps.STATUS), "`ray status` knows their GPUs")

    (cluster.hosts.checkout / "my.yaml").write_text(yaml.safe_dump(soak.SPACE, sort_keys=False))
    cluster.do(steps.SEND)
    cluster.do(f'{steps.SUBMIT[:-1]} {SEARCH}"')
    cluster.wait(
        lambda: cluster.lines() >= LINES_BEFORE_THE_CUT or cluster.ended(), "the search is under way"
    )
    assert not cluster.ended()
    lost.cut_off()
    cluster.say(f"{lost.name} is cut off")
    cluster.wait(lambda: cluster.nodes() == {kept.address}, "the cluster has noticed")
    lost.reconnect()
    cluster.wait(lambda: cluster.nodes() == {kept.address, lost.address}, f"{lost.name} is back")
    cluster.wait(cluster.ended, "the search has ended")
    assert cluster.job() == "SUCCEEDED"
    cluster.do(steps.EXTEND)
    cluster.wait(lambda: cluster.ended("more"), "more trials have been added")
    assert cluster.job("more") == "SUCCEEDED"

    assert f"{soak.N_TRIALS - N_LATER}/{soak.N_TRIALS - N_LATER} trials" in cluster.do(steps.LOGS)
    cluster.do(steps.FETCH)
    home = RunDirectory(cluster.hosts.checkout / "runs" / NAME)
    soak.check(home)
    check_nodes(home, kept, lost)
    cluster.say("every invariant holds for what was brought home")
    cluster.do(steps.DOWN)
    cluster.wait(lambda: not left_over(), "`ray down` has left nothing running")
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


def check_stranger(stranger: subprocess.Popen[str]) -> None:
    """A search that was started at the cluster's address without the token has ended in one line."""
    out, _ = stranger.communicate(timeout=STEP_S)
    assert stranger.returncode == 2, out
    assert len(out.splitlines()) == 1, out
    assert "refuses a caller without a token" in out, out


def check_nodes(run: RunDirectory, *workers: Host) -> None:
    """The host that was lost has trained again: both have a part in the trials that were added."""
    rows = read_table(run.trials_file).to_pylist()
    nodes = {row["node"] for row in rows if row["number"] >= soak.N_TRIALS - N_LATER}
    assert nodes == {worker.name for worker in workers}, nodes


def left_over() -> list[str]:
    """Return what of Ray still runs on the hosts; they are inside this process's namespace."""
    return [process.info["name"] for process in psutil.process_iter(["name"]) if process.info["name"] in GONE]


def explain(cluster: Cluster) -> None:
    """Print what the head has to say about a failure."""
    for name in ("monitor.log", "monitor.out", "job-driver-*.log"):
        for log in cluster.hosts.machines[0].view.glob(f"tmp/ray/session_2*/logs/{name}"):
            print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-LOG_LINES:], sep="\n")


def limit_time(seconds: int) -> None:
    """Raise an exception wherever this process is then."""

    def give_up(number: int, frame: object) -> None:
        raise TimeoutError(f"the cluster test has taken {seconds} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)


def main() -> int:
    directory, debs = map(Path, sys.argv[1:3])
    limit_time(int(sys.argv[3]))
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
