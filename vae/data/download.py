"""MNIST and Fashion-MNIST: of which files they consist, and how these are found, fetched and verified."""

import hashlib
import logging
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vae.atomic import replaced_file
from vae.errors import StorageError

logger = logging.getLogger(__name__)

DEBIAN_DATASETS = Path("/usr/share/datasets")
CONNECT_TIMEOUT_S = 5  # a closed network must be noticed in seconds
COMMAND_TIMEOUT_S = 300

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


@dataclass(frozen=True)
class Archive:
    """A published data set of four files, and where they come from."""

    title: str
    folder: str
    """Name of its folder, in the data directory and in Debian's."""
    torchvision_class: str
    debian_package: str | None
    class_names: tuple[str, ...]
    """Name of label i at place i."""
    checksums: dict[str, tuple[str, ...]]
    """File name -> the checksums that are right, as `algorithm:hex`, one for each way it is published."""


FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

ARCHIVES = {
    # md5: the files that torchvision downloads; sha256: Debian's, which are compressed anew
    "fmnist": Archive(
        title="Fashion-MNIST",
        folder="fashion-mnist",
        torchvision_class="FashionMNIST",
        debian_package="dataset-fashion-mnist",
        class_names=FASHION_CLASSES,
        checksums={
            TRAIN_IMAGES: (
                "sha256:b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
                "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            ),
            TRAIN_LABELS: (
                "sha256:0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
                "md5:25c81989df183df01b3e8a0aad5dffbe",
            ),
            TEST_IMAGES: (
                "sha256:cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
                "md5:bef4ecab320f06d8554ea6380940ec79",
            ),
            TEST_LABELS: (
                "sha256:8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
                "md5:bb300cfdad3c16e7a12a480ee83cd310",
            ),
        },
    ),
    "mnist": Archive(
        title="MNIST",
        folder="mnist",
        torchvision_class="MNIST",
        debian_package=None,
        class_names=tuple("0123456789"),
        checksums={
            TRAIN_IMAGES: ("md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",),
            TRAIN_LABELS: ("md5:d53e105ee54ea40749a09fcbcd1e9432",),
            TEST_IMAGES: ("md5:9fb629c4189551a2d022fa330f9573f3",),
            TEST_LABELS: ("md5:ec29112dd5afa0611ce80d1b7f02629c",),
        },
    ),
}


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
