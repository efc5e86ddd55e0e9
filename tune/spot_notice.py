"""`python -m tune.spot_notice`: runs beside Ray on a spot machine of AWS, and clears it before it is taken.

AWS announces that two minutes ahead, to whoever asks. Then this node is drained, so that no trial is put here
any more, and the trials' processes are asked to end, which they do after their next report (`actor.py`);
the trials continue on other nodes. To end Ray instead would save nothing: a search drops the trials of a node
that leaves the cluster.
"""

import argparse
import contextlib
import json
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime

import psutil

from tune.cluster.ray_private import DrainNodeReason, GcsClient
from tune.trials.actor import is_trial_process

ASK_EVERY_S = 5.0  # as AWS recommends
METADATA = "http://169.254.169.254"
"""Where a machine of AWS learns about itself: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide
(Spot Instance interruption notices; IMDSv2)."""


def find_raylet(pid: int | None, wait_s: float) -> psutil.Process | None:
    """Return the process that stands for this machine in the cluster; there is one, but for tests."""
    deadline = time.monotonic() + wait_s
    while True:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # it has ended
                if process.name() == "raylet" and pid in (None, process.pid):
                    return process
        if time.monotonic() > deadline:
            return None
        time.sleep(1)


def option(process: psutil.Process, name: str) -> str:
    """Return the value of an option on a process's command line."""
    return next(word.partition("=")[2] for word in process.cmdline() if word.startswith(f"--{name}="))


def ask(metadata: str) -> datetime | None:
    """Return when AWS will take this machine, None if it has not said so.

    Raises
    ------
    OSError
        Nobody answers.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def fetch(path: str, method: str, header: str, value: str) -> str:
        request = urllib.request.Request(f"{metadata}/latest/{path}", method=method, headers={header: value})
        with opener.open(request, timeout=2) as response:
            return str(response.read().decode())

    token = fetch("api/token", "PUT", "X-aws-ec2-metadata-token-ttl-seconds", "60")
    try:
        notice = fetch("meta-data/spot/instance-action", "GET", "X-aws-ec2-metadata-token", token)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
    return datetime.fromisoformat(json.loads(notice)["time"])


def clear(raylet: psutil.Process, deadline: datetime) -> None:
    """Drain a node and ask its trials to end."""
    cluster = GcsClient(address=option(raylet, "gcs-address"))
    reason, milliseconds = DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION, int(deadline.timestamp() * 1000)
    cluster.drain_node(option(raylet, "node_id"), reason, "spot notice", milliseconds)
    for process in raylet.children():
        with contextlib.suppress(psutil.Error):  # it has ended
            title = " ".join(process.cmdline()).strip()
            if is_trial_process(title):
                process.terminate()
                print(f"asked {title} to end", flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tune.spot_notice", description=__doc__)
    parser.add_argument("--metadata", default=METADATA, help=argparse.SUPPRESS)
    parser.add_argument("--raylet", type=int, help="the process of the node; by default the only one here")
    parser.add_argument("--wait-s", type=float, default=60.0, help="how long Ray may take to start here")
    parser.add_argument("--every-s", type=float, default=ASK_EVERY_S, help="how often to ask")
    arguments = parser.parse_args(argv)
    raylet = find_raylet(arguments.raylet, arguments.wait_s)
    if raylet is None:
        print("error: Ray does not run here", file=sys.stderr)
        return 1
    answered = False
    while raylet.is_running():
        try:
            deadline = ask(arguments.metadata)
        except OSError as error:
            if not answered:
                print(f"not a machine of AWS ({error}); nothing to watch")
                return 0
        else:
            answered = True
            if deadline is not None:
                print(f"this machine is taken at {deadline}", flush=True)
                clear(raylet, deadline)
                return 0
        time.sleep(arguments.every_s)
    return 0


if __name__ == "__main__":
    sys.exit(main())
