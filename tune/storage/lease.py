"""One process at a time at work under a URI, wherever it runs.

An object store has no locks. So each process writes a claim of its own, and only then looks for others': of
two that come at the same time, at least one sees the other and withdraws. The holder renews its claim every
few seconds; one that is older than `LEASE_TTL_S` is stale, by the clock of the storage, which has stamped
them all. Whoever takes over deletes it, and `Mirror` looks for it before each change: so a holder that was
suspended and wakes up overwrites nothing.
"""

import contextlib
import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import filelock
from pyarrow import fs

from tune.storage.filesystems import LONG_RETRIES, SHORT_RETRIES
from tune.storage.mirror import LeaseLost, Mirror
from vae.errors import StorageError, UsageError

logger = logging.getLogger(__name__)

RENEW_EVERY_S = 10.0
LEASE_TTL_S = 45.0
_FOLDER = ".claims"


@contextmanager
def hold_lease(remote: Mirror, lock_file: Path, busy: str) -> Iterator[None]:
    """Hold what ``lock_file``, which this process holds on its own machine, stands for under the URI.

    Raises
    ------
    UsageError
        Another process holds it; ``busy`` says so.
    StorageError
        Nothing can be written there.
    """
    folder = remote.directory / _FOLDER
    own = folder / f"{lock_file.name}-{uuid.uuid4().hex}"
    claim = json.dumps(
        {"host": socket.gethostname(), "pid": os.getpid(), "lock_file": str(lock_file)}
    ).encode()
    remote.write(own, claim)
    held, stop = remote.leases, threading.Event()
    # With long retries this process would count as dead between the last attempts.
    quick = remote.with_retries(SHORT_RETRIES)
    renewer = threading.Thread(target=_renew, args=(quick, own, claim, stop), daemon=True)
    try:
        for other, age_s in _others(remote, own):
            if age_s < LEASE_TTL_S and remote.exists(other) and not _holder_is_gone(remote.read(other)):
                raise UsageError(
                    f"{busy} (its last sign of life is {age_s:.0f} s old; after {LEASE_TTL_S:.0f} s it "
                    "counts as dead)"
                )
            remote.delete(other)
        renewer.start()
        remote.set_retries(LONG_RETRIES)
        remote.leases = (*held, own)
        yield
    finally:
        remote.leases = held
        stop.set()
        if renewer.is_alive():
            renewer.join(timeout=5)  # it may be trying again
        with contextlib.suppress(StorageError):
            quick.delete(own)


def is_leased(remote: Mirror, lock_file: Path) -> bool:
    """Whether somebody is at work there, by this machine's clock: it may be right to the minute only."""
    now = datetime.now(UTC)
    return any(
        (now - info.mtime).total_seconds() < LEASE_TTL_S
        for info in remote.list(remote.directory / _FOLDER)
        if _is_claim(info, lock_file.name)
    )


def _others(remote: Mirror, own: Path) -> list[tuple[Path, float]]:
    """Return the claims of others with their ages in seconds."""
    kind = own.name.rpartition("-")[0]
    claims = {info.base_name: info for info in remote.list(own.parent) if _is_claim(info, kind)}
    if own.name not in claims:
        raise StorageError(f"cannot hold {remote.uri_of(own)}: it is gone already; try again")
    now = claims.pop(own.name).mtime
    return [(own.with_name(name), (now - info.mtime).total_seconds()) for name, info in claims.items()]


def _is_claim(info: fs.FileInfo, kind: str) -> bool:
    return bool(info.type == fs.FileType.File and info.base_name.rpartition("-")[0] == kind)


def _holder_is_gone(claim: bytes) -> bool:
    """Whether a claim is of this machine, and whether its lock is free there: the holder is dead.

    One that cannot be read may be of a process that works: only its age can say that it is stale.
    """
    try:
        holder = json.loads(claim)
        lock_file = Path(holder["lock_file"])
        if holder["host"] != socket.gethostname() or not lock_file.exists():
            return False
    except (ValueError, LookupError, TypeError):
        logger.warning("a lease that cannot be read counts as held until it is %.0f s old", LEASE_TTL_S)
        return False
    try:
        with filelock.FileLock(lock_file, timeout=0):
            return True
    except (filelock.Timeout, OSError):
        return False


def _renew(quick: Mirror, own: Path, claim: bytes, stop: threading.Event) -> None:
    quick.leases = (*quick.leases, own)
    while not stop.wait(RENEW_EVERY_S):
        try:
            quick.write(own, claim)  # not if it is gone
        except LeaseLost:
            return
        except StorageError as error:  # whoever does the work will notice too
            logger.debug("no sign of life: %s", error)
