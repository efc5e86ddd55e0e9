"""Hosts on one machine: each with a network, processes and a file system of its own, reached by SSH.

To be used by root inside mount, network and PID namespaces of its own, with which everything vanishes.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.local_config import ROOT

HOME = Path("/home/ray")
SHARED = Path("/shared")
BRIDGE = "10.77.0.1"
"""The address of the client; no packet of this network leaves the namespace."""
SSH_PORT = 22
SSHD_CONFIG = "PermitRootLogin yes\nUsePAM no\nStrictModes no\nSubsystem sftp /usr/lib/openssh/sftp-server\n"
RAY_TIMEOUTS = (
    "RAY_health_check_period_ms=2000 RAY_health_check_timeout_ms=4000 RAY_health_check_failure_threshold=4 "
    "RAY_gcs_rpc_server_reconnect_timeout_s=30 AUTOSCALER_HEARTBEAT_TIMEOUT_S=15 "
    "AUTOSCALER_UPDATE_INTERVAL_S=1"
)
"""How long Ray waits for a host that does not answer, about a third of what it does by itself, and how often
its autoscaler looks.
"""
# The namespaces must be there before the cable can be put in, so this waits for it.
START = """
mount -t proc proc {view}/proc
hostname {name}
until ip link show cable > /dev/null 2>&1; do sleep 0.05; done
ip link set lo up
ip address add {address}/24 dev cable
ip link set cable up
exec chroot {view} /usr/sbin/sshd -D
"""


def call(*command: object) -> None:
    """Run a command; its output is shown when it fails."""
    done = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout.strip()}")


@dataclass(frozen=True)
class Host:
    """One machine, as far as its programs can tell; ``view`` is its file system seen from outside."""

    name: str
    address: str
    view: Path

    @property
    def home(self) -> Path:
        return self.view / HOME.relative_to("/")

    @property
    def port(self) -> str:
        """Its port on the switch."""
        return f"to-{self.name}"

    def cut_off(self) -> None:
        """Pull the network cable; the programs run on."""
        call("ip", "link", "set", self.port, "down")

    def reconnect(self) -> None:
        call("ip", "link", "set", self.port, "up")


class Hosts:
    """A client and some machines with `sshd`, which share `/shared` and nothing else."""

    def __init__(self, directory: Path, debs: Path, names: list[str]) -> None:
        self.directory = directory
        call("mount", "--make-rprivate", "/")
        call("mount", "-t", "tmpfs", "tmpfs", directory)
        call("ip", "link", "set", "lo", "up")
        call("ip", "link", "add", "switch", "type", "bridge")
        call("ip", "address", "add", f"{BRIDGE}/24", "dev", "switch")
        call("ip", "link", "set", "switch", "up")
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "key")
        for deb in debs.glob("*.deb"):  # never onto /
            call("dpkg", "-x", deb, directory / "unpacked")
        self.shared = directory / "shared"
        self.shared.mkdir()
        self.client = self._new("client", BRIDGE)
        shutil.copy(directory / "key", self.client.home / ".ssh" / "id_ed25519")
        self.checkout = _overlay(
            ROOT, directory / "client" / "checkout", self.client.view / ROOT.relative_to("/")
        )
        call("mount", "-t", "proc", "proc", self.client.view / "proc")
        self.machines = [
            self._new(name, f"{BRIDGE[:-1]}{number}") for number, name in enumerate(names, start=2)
        ]
        for host in self.machines:
            _hide_checkout(host)
            _add_environment(host, directory / host.name)
            _switch_on(host)

    def run(self, command: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command on the client, in the checkout."""
        environment = {
            "HOME": str(HOME),
            "TERM": "xterm",
            "PATH": f"{sys.prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        return subprocess.Popen(
            ["chroot", self.client.view, "bash", "-c", f"cd {ROOT} && {command}"],
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _new(self, name: str, address: str) -> Host:
        """Make the file system of a host: this machine's, with changes of its own."""
        host = Host(name, address, self.directory / name / "view")
        view = _overlay(Path("/"), self.directory / name / "root", host.view)
        call("mount", "--rbind", "/dev", view / "dev")
        call("mount", "--make-rslave", view / "dev")
        for place in ("dev/shm", "run"):
            call("mount", "-t", "tmpfs", "tmpfs", view / place)
        shutil.rmtree(view / "tmp" / "ray", ignore_errors=True)
        unpacked = self.directory / "unpacked"
        for source, target in (("usr", "usr"), ("etc", "etc"), ("lib", "usr/lib")):
            if (unpacked / source).is_dir():
                call("cp", "-a", f"{unpacked / source}/.", view / target)
        call("chroot", view, "ldconfig")
        shutil.copytree("/etc/skel", host.home)
        (host.home / ".ssh").mkdir(mode=0o700)
        shutil.copy(self.directory / "key.pub", host.home / ".ssh" / "authorized_keys")
        passwd = [line.split(":") for line in (view / "etc/passwd").read_text().splitlines()]
        kept = [":".join(line) for line in passwd if line[0] not in ("root", "sshd")]
        kept += [f"root:x:0:0:root:{HOME}:/bin/bash", "sshd:x:105:65534::/run/sshd:/usr/sbin/nologin"]
        (view / "etc/passwd").write_text("\n".join(kept) + "\n")
        (view / "etc/hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")
        (view / "etc/ssh/sshd_config").write_text(SSHD_CONFIG)
        (view / "run/sshd").mkdir()
        python = Path(os.path.realpath(sys.executable)).parent  # perhaps not the one that Debian has
        (view / "etc/profile.d/test.sh").write_text(f"export PATH={python}:$PATH {RAY_TIMEOUTS}\n")
        host_key = view / "etc/ssh/ssh_host_ed25519_key"
        host_key.unlink(missing_ok=True)  # of this machine, if it has a server of its own
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host_key)
        shared = view / SHARED.relative_to("/")
        shared.mkdir()
        call("mount", "--bind", self.shared, shared)
        return host


def _overlay(lower: Path, changes: Path, target: Path) -> Path:
    """Show ``lower`` at ``target``; what is written there goes to ``changes``."""
    for directory in (changes / "upper", changes / "work", target):
        directory.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={lower},upperdir={changes / 'upper'},workdir={changes / 'work'}"
    call("mount", "-t", "overlay", "overlay", "-o", options, target)
    return target


def _hide_checkout(host: Host) -> None:
    """A host has the code that it was sent, not the one on the client's disk."""
    for directory in (Path(sys.prefix), ROOT):  # the first may be inside the second
        call("mount", "-t", "tmpfs", "tmpfs", host.view / directory.relative_to("/"))


def _add_environment(host: Host, directory: Path) -> None:
    """Let `make install` find the locked packages already there: it runs, but need not download anything.

    The stamp that it leaves and the project itself are missing.
    """
    here = HOME / "vae-search" / ".venv"
    environment = _overlay(Path(sys.prefix), directory / "venv", host.view / here.relative_to("/"))
    (environment / ".installed").unlink(missing_ok=True)
    for left in environment.glob("lib/python*/site-packages/*vae_search*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    for script in (environment / "bin").iterdir():
        text = b"" if script.is_symlink() else script.read_bytes()
        if text.startswith(b"#!" + os.fsencode(sys.prefix)):
            script.write_bytes(text.replace(os.fsencode(sys.prefix), os.fsencode(here), 1))


def _switch_on(host: Host) -> None:
    call("ip", "link", "add", host.port, "type", "veth", "peer", "name", "cable")
    call("ip", "link", "set", host.port, "master", "switch", "up")
    script = START.format(view=host.view, name=host.name, address=host.address)
    process = subprocess.Popen(
        ["unshare", "--net", "--pid", "--fork", "--uts", "--ipc", "--mount", "bash", "-c", script],
        env={"PATH": os.environ["PATH"]},
    )
    ours = os.stat("/proc/self/ns/net").st_ino
    while os.stat(f"/proc/{process.pid}/ns/net").st_ino == ours:
        time.sleep(0.01)
    call("ip", "link", "set", "cable", "netns", process.pid)
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((host.address, SSH_PORT), timeout=1).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{host.name} does not answer on SSH's port: {error}") from error
            time.sleep(0.1)
