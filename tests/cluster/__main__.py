"""Run a study over a cluster made by `ray up`, on hosts made of namespaces: `make cluster-test`.

Skipped, with the reason, where this machine cannot hold such hosts. Whatever ends this process, nothing of it
is left: its hosts are in namespaces that end with it.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = [
    "openssh-server",
    "openssh-sftp-server",
    "openssh-client",
    "rsync",
    "libwrap0",
    "libpopt0",
    "libxxhash0",
]
TOOLS = ["unshare", "setpriv", "ip", "mount", "chroot", "make", "ssh-keygen", "apt-get", "dpkg"]
UNSHARE = [
    *("setpriv", "--pdeathsig", "KILL"),  # it dies with this process, and with it everything inside
    *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
]
DOWNLOAD_S = 120
TIME_LIMIT_S = 900
"""Some four times what it takes on two idle cores."""
TO_EXPLAIN_S = 60
PROBE = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$0"
mkdir "$0/upper" "$0/work" "$0/view"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/view"
ip link add switch type bridge
ip link add one type veth peer name other
"""
"""What hosts are made of."""


def obstacle(directory: Path) -> str | None:
    """Return why hosts cannot be made on this machine, if so."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "it needs root on Linux"
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"it needs {', '.join(missing)}"
    probe = subprocess.run([*UNSHARE, "sh", "-c", PROBE, directory], capture_output=True, text=True)
    if probe.returncode:
        return f"this machine allows no namespaces ({probe.stderr.strip()})"
    return None


def download(debs: Path) -> str | None:
    """Fetch Debian's SSH server and rsync, to be unpacked into the hosts only; returns why that fails."""
    debs.mkdir()
    why = ""
    for command in (["download", *PACKAGES], ["update"], ["download", *PACKAGES]):
        try:
            done = subprocess.run(
                ["apt-get", "--quiet", *command], cwd=debs, capture_output=True, text=True, timeout=DOWNLOAD_S
            )
        except subprocess.TimeoutExpired:
            why = f"no answer within {DOWNLOAD_S} s"
            continue
        if done.returncode == 0 and command[0] == "download":
            return None
        why = done.stderr.strip()
    return f"apt-get cannot download {PACKAGES[0]} ({why})"


def main() -> int:
    # An exception, so that the directory is removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory() as directory:
        hosts, debs = Path(directory) / "hosts", Path(directory) / "debs"
        hosts.mkdir()
        reason = obstacle(hosts) or download(debs)
        if reason:
            print(f"cluster test skipped: {reason}")
            return 0
        scenario = [sys.executable, "-m", "tests.cluster.scenario", hosts, debs, str(TIME_LIMIT_S)]
        try:
            return subprocess.run([*UNSHARE, *scenario], timeout=TIME_LIMIT_S + TO_EXPLAIN_S).returncode
        except subprocess.TimeoutExpired:
            print("cluster test killed: it did not end within its own time limit", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
