"""Finds, fetches and verifies the files of MNIST and Fashion-MNIST."""

import hashlib
import logging
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vae.atomic import replaced_file
from vae.data.archives import ARCHIVES, Archive
from vae.errors import StorageError

logger = logging.getLogger(__name__)

DEBIAN_DATASETS = Path("/usr/share/datasets")
CONNECT_TIMEOUT_S = 5  # a closed network must be noticed in seconds
COMMAND_TIMEOUT_S = 300


class FetchError(Exception):
    """One source could not deliver; the next one is tried."""


def default_data_dir() -> Path:
    """The folder named by `VAE_DATA_DIR`, else `data` where the command runs."""
    return Path(os.environ.get("VAE_DATA_DIR") or "data").expanduser()


def locate(name: str, data_dir: Path | None = None, *, download: bool = True) -> Path:
    """Folder with all files of `name`, a key of `ARCHIVES`; fetches them into the data directory if need be.

    Raises
    ------
    StorageError
        No source has the files (the message lists each with its reason), or the data directory is read-only.
    """
    archive = ARCHIVES[name]
    home = (data_dir or default_data_dir()) / archive.folder
    tried = []
    for directory in (home, DEBIAN_DATASETS / archive.folder):
        missing = [file for file in archive.checksums if not os.path.isfile(directory / file)]
        if not missing:
            return directory
        tried.append(
            f"{directory}: {f'lacks {missing[0]}' if os.path.isdir(directory) else 'no such folder'}"
        )

    sources: dict[str, Callable[[Archive, Path], Path]] = {
        "download through torchvision": _fetch_from_mirrors
    }
    if archive.debian_package:
        sources[f"Debian's package {archive.debian_package}"] = _fetch_debian_package
    for source, fetch in sources.items() if download else ():
        logger.info("%s: trying %s", archive.title, source)
        with tempfile.TemporaryDirectory(prefix="vae-download-") as workspace:
            try:
                fetched = fetch(archive, Path(workspace))
                for file in archive.checksums:
                    if mismatch := checksum_mismatch((fetched / file).read_bytes(), archive.checksums[file]):
                        raise FetchError(f"{file} arrived damaged: {mismatch}")
            except (FetchError, ImportError, OSError, RuntimeError) as error:
                tried.append(f"{source}: {' '.join(str(error).split())}")
                continue
            _move_into(home, fetched, list(archive.checksums))
        logger.info("%s: saved in %s", archive.title, home)
        return home
    if not download:
        tried.append("download: switched off")

    package = f"`apt-get install {archive.debian_package}`, or " if archive.debian_package else ""
    reasons = "; ".join(f"({number}) {reason}" for number, reason in enumerate(tried, start=1))
    raise StorageError(
        f"{archive.title} not found; tried {reasons}. Way out: {package}put {', '.join(archive.checksums)} "
        f"into {home}, or set VAE_DATA_DIR to the folder that has {archive.folder}/"
    )


def read_verified(path: Path, checksums: tuple[str, ...]) -> bytes:
    """The file's bytes; `StorageError` if it cannot be read or has none of the right `checksums`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"cannot read {path}: {error.strerror}; check its permissions or delete it"
        ) from None
    if mismatch := checksum_mismatch(content, checksums):
        raise StorageError(
            f"{path} is damaged: {mismatch}; delete it and run again, it will be fetched afresh"
        )
    return content


def checksum_mismatch(content: bytes, checksums: tuple[str, ...]) -> str | None:
    """None if the content has one of the right checksums, else what was expected and what was there."""
    for expected in checksums:
        algorithm, _, digest = expected.partition(":")
        if hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() == digest:
            return None
    algorithm, _, digest = checksums[0].partition(":")
    got = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    return f"{len(content):,} bytes with {algorithm} {got[:16]}…, expected {algorithm} {digest[:16]}…"


def _move_into(home: Path, fetched: Path, files: list[str]) -> None:
    """Copy the files to `home`, each in one step."""
    try:
        for file in files:
            with replaced_file(home / file) as temporary:
                shutil.copyfile(fetched / file, temporary)
    except StorageError as error:
        raise StorageError(f"{error}; set VAE_DATA_DIR to a folder that you can write to") from None


def _fetch_from_mirrors(archive: Archive, workspace: Path) -> Path:
    import torchvision  # here: 30 times slower to import than all the rest of this file
    from torchvision.datasets.utils import download_url

    published = getattr(torchvision.datasets, archive.torchvision_class)
    with _socket_timeout(CONNECT_TIMEOUT_S):
        for file, md5 in published.resources:
            reason = ""
            for mirror in published.mirrors:
                try:
                    download_url(f"{mirror}{file}", str(workspace), filename=file, md5=md5)
                    break
                except (OSError, RuntimeError) as error:
                    reason = str(error)
            else:
                raise FetchError(f"{file}: {reason}")
    return workspace


def _fetch_debian_package(archive: Archive, workspace: Path) -> Path:
    """Download and unpack the package as any user: nothing is installed."""
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise FetchError(f"this system has no {program}")
    package = str(archive.debian_package)
    # apt gives up root's rights by default, and then cannot write to a private folder
    options = ["-o", f"Acquire::http::Timeout={CONNECT_TIMEOUT_S}", "-o", "APT::Sandbox::User=root"]
    try:
        _run_command(["apt-get", *options, "download", package], workspace)
    except FetchError:  # the machine's package lists are absent or old: fetch lists of our own
        (workspace / "lists" / "partial").mkdir(parents=True)
        (workspace / "cache").mkdir()
        options += ["-o", f"Dir::State::Lists={workspace}/lists", "-o", f"Dir::Cache={workspace}/cache"]
        try:
            _run_command(["apt-get", *options, "update"], workspace)
            _run_command(["apt-get", *options, "download", package], workspace)
        except FetchError as error:
            raise FetchError(f"the package lists are absent or old, and with new ones {error}") from None
    deb = next(workspace.glob("*.deb"))
    _run_command(["dpkg-deb", "-x", str(deb), "unpacked"], workspace)
    return workspace / "unpacked" / DEBIAN_DATASETS.relative_to("/") / archive.folder


def _run_command(command: list[str], directory: Path) -> None:
    name = f"{command[0]} {'update' if 'update' in command else command[-2]}"
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise FetchError(f"`{name}` took more than {COMMAND_TIMEOUT_S} s") from None
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if not line.startswith("W:")]
        raise FetchError(f"`{name}` failed: {errors[-1] if errors else f'exit code {done.returncode}'}")


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
