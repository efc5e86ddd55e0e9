"""Sources of Fashion-MNIST, each replaced by a stand-in, and once for real."""

import gzip
import hashlib
import socket
import subprocess
import urllib.error
from pathlib import Path

import pytest
import torchvision

from vae.data import download
from vae.data.__main__ import main
from vae.data.download import ARCHIVES, Archive, locate, read_verified
from vae.errors import StorageError

CONTENT = {
    "images.gz": gzip.compress(b"images", mtime=0),
    "labels.gz": gzip.compress(b"labels", mtime=0),
}


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A data set of two files, `toy`, with no source that works."""
    archive = Archive(
        title="Toy",
        folder="toy",
        torchvision_class="FashionMNIST",
        debian_package="dataset-toy",
        class_names=(),
        checksums={name: (f"sha256:{hashlib.sha256(data).hexdigest()}",) for name, data in CONTENT.items()},
    )
    monkeypatch.setitem(ARCHIVES, "toy", archive)
    monkeypatch.setattr(download, "DEBIAN_DATASETS", tmp_path / "usr" / "share" / "datasets")
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", [(name, None) for name in CONTENT])
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", ["mirror-1/", "mirror-2/"])
    monkeypatch.setattr(torchvision.datasets.utils, "download_url", refuse_url)
    monkeypatch.setattr(download.shutil, "which", lambda program: f"/bin/{program}")
    monkeypatch.setattr(download.subprocess, "run", refuse_command)
    return archive


def refuse_url(url, root, filename, md5):
    raise urllib.error.URLError("network is closed")


def refuse_command(command, **options):
    return subprocess.CompletedProcess(
        command, 100, stdout="", stderr="E: Unable to locate package\nW: ignore me\n"
    )


def deliver_url(url, root, filename, md5):
    (Path(root) / filename).write_bytes(CONTENT[filename])


class FakeDebian:
    """Stands in for apt-get and dpkg-deb; knows the package only after `update`, when `lists` is false."""

    def __init__(self, *, lists: bool, content: dict[str, bytes] = CONTENT):
        self.lists, self.content, self.commands = lists, content, []

    def __call__(self, command, *, cwd, **options):
        self.commands.append(command)
        if "update" in command:
            self.lists = any(option.startswith("Dir::State::Lists=") for option in command)
        elif "download" in command:
            if not self.lists:
                return refuse_command(command)
            (cwd / "dataset-toy_1_all.deb").touch()
        elif command[0] == "dpkg-deb":
            folder = cwd / command[-1] / download.DEBIAN_DATASETS.relative_to("/") / "toy"
            folder.mkdir(parents=True)
            for name, data in self.content.items():
                (folder / name).write_bytes(data)
        return subprocess.CompletedProcess(command, 0, stdout="", stderr="")


def write_files(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, data in CONTENT.items():
        (folder / name).write_bytes(data)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_files_in_the_data_directory_are_used_as_they_are(toy, tmp_path):
    folder = write_files(tmp_path / "data" / "toy")
    write_files(download.DEBIAN_DATASETS / "toy")
    assert locate("toy", tmp_path / "data") == folder


def test_debians_folder_is_used_when_the_data_directory_has_none(toy, tmp_path):
    folder = write_files(download.DEBIAN_DATASETS / "toy")
    assert locate("toy", tmp_path / "data") == folder
    assert not (tmp_path / "data").exists()


def test_an_incomplete_data_directory_is_completed(toy, tmp_path, monkeypatch):
    folder = write_files(tmp_path / "data" / "toy")
    (folder / "labels.gz").unlink()
    monkeypatch.setattr(torchvision.datasets.utils, "download_url", deliver_url)
    assert locate("toy", tmp_path / "data") == folder
    assert contents(folder) == CONTENT


def test_the_next_mirror_is_tried_when_one_fails(toy, tmp_path, monkeypatch):
    def second_only(url, root, filename, md5):
        (deliver_url if url.startswith("mirror-2/") else refuse_url)(url, root, filename, md5)

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", second_only)
    assert contents(locate("toy", tmp_path / "data")) == CONTENT


def test_a_closed_network_is_given_seconds_and_the_socket_timeout_is_put_back(toy, tmp_path, monkeypatch):
    seen = []

    def remember(url, root, filename, md5):
        seen.append(socket.getdefaulttimeout())
        refuse_url(url, root, filename, md5)

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", remember)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(77)
    with pytest.raises(StorageError):
        locate("toy", tmp_path)
    after = socket.getdefaulttimeout()
    socket.setdefaulttimeout(before)
    assert seen == [download.CONNECT_TIMEOUT_S] * 2, "one file from two mirrors, then no other file"
    assert after == 77


def test_debians_package_is_fetched_when_the_mirrors_fail(toy, tmp_path, monkeypatch):
    debian = FakeDebian(lists=True)
    monkeypatch.setattr(download.subprocess, "run", debian)
    assert contents(locate("toy", tmp_path / "data")) == CONTENT
    assert not any("update" in command for command in debian.commands)


def test_package_lists_of_our_own_are_fetched_when_the_machine_has_none(toy, tmp_path, monkeypatch):
    debian = FakeDebian(lists=False)
    monkeypatch.setattr(download.subprocess, "run", debian)
    assert contents(locate("toy", tmp_path / "data")) == CONTENT
    [update] = [command for command in debian.commands if "update" in command]
    assert any(option.startswith("Dir::Cache=") for option in update)


def test_a_damaged_package_is_refused_and_leaves_nothing_behind(toy, tmp_path, monkeypatch):
    damaged = {**CONTENT, "labels.gz": CONTENT["labels.gz"][:-1]}
    monkeypatch.setattr(download.subprocess, "run", FakeDebian(lists=True, content=damaged))
    with pytest.raises(StorageError, match=r"labels\.gz arrived damaged"):
        locate("toy", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_when_all_fails_one_error_lists_every_source_with_its_reason_and_a_way_on(toy, tmp_path):
    with pytest.raises(StorageError) as caught:
        locate("toy", tmp_path / "data")
    message = str(caught.value)
    for part in (
        f"{tmp_path / 'data' / 'toy'}: no such folder",
        f"{download.DEBIAN_DATASETS / 'toy'}: no such folder",
        "network is closed",
        "the package lists are absent or old",
        "E: Unable to locate package",
        "apt-get install dataset-toy",
        "VAE_DATA_DIR",
    ):
        assert part in message
    assert "ignore me" not in message
    assert "\n" not in message
    assert not (tmp_path / "data").exists()


def test_a_system_without_apt_is_named_as_the_reason(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "which", lambda program: None)
    with pytest.raises(StorageError, match="this system has no apt-get"):
        locate("toy", tmp_path)


def test_a_command_that_hangs_is_named_as_the_reason(toy, tmp_path, monkeypatch):
    def hang(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(download.subprocess, "run", hang)
    with pytest.raises(StorageError, match="`apt-get update` took more than 300 s"):
        locate("toy", tmp_path)


def test_no_source_is_tried_when_downloading_is_switched_off(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.utils, "download_url", deliver_url)
    with pytest.raises(StorageError, match="download: switched off"):
        locate("toy", tmp_path / "data", download=False)


def test_an_unwritable_data_directory_is_named(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.utils, "download_url", deliver_url)
    (tmp_path / "data").write_text("a file where a folder must go")
    with pytest.raises(StorageError, match=r"cannot write .*data/toy/.*: .*VAE_DATA_DIR"):
        locate("toy", tmp_path / "data")


def test_the_data_directory_comes_from_the_environment(toy, tmp_path, monkeypatch):
    folder = write_files(tmp_path / "mine" / "toy")
    monkeypatch.setenv("VAE_DATA_DIR", str(tmp_path / "mine"))
    assert locate("toy") == folder


def test_a_truncated_file_is_named_with_expected_and_got_and_the_way_out(toy, tmp_path):
    file = tmp_path / "images.gz"
    file.write_bytes(CONTENT["images.gz"][:-3])
    got = hashlib.sha256(CONTENT["images.gz"][:-3]).hexdigest()
    expected = hashlib.sha256(CONTENT["images.gz"]).hexdigest()
    with pytest.raises(StorageError) as caught:
        read_verified(file, toy.checksums["images.gz"])
    for part in (str(file), got[:16], expected[:16], "delete it"):
        assert part in str(caught.value)


def test_any_one_of_the_published_checksums_is_enough(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    checksums = ("sha256:" + "0" * 64, "md5:900150983cd24fb0d6963f7d28e17f72")  # md5 of abc, RFC 1321
    assert read_verified(tmp_path / "file", checksums) == b"abc"


@pytest.mark.parametrize("name", ["mnist", "fmnist"])
def test_checksums_are_those_that_torchvision_publishes(name):
    published = getattr(torchvision.datasets, ARCHIVES[name].torchvision_class).resources
    ours = {
        file: {c for c in sums if c.startswith("md5:")} for file, sums in ARCHIVES[name].checksums.items()
    }
    assert ours == {file: {f"md5:{md5}"} for file, md5 in published}


def test_the_command_says_what_was_found_and_where(tmp_path, capsys, toy):
    folder = write_files(tmp_path / "data" / "toy")
    main(["toy", "--data-dir", str(tmp_path / "data")])
    assert capsys.readouterr().out == f"Toy: 2 files in {folder}, checksums right\n"


def test_the_command_refuses_a_damaged_file(tmp_path, toy):
    (write_files(tmp_path / "data" / "toy") / "images.gz").write_bytes(b"")
    with pytest.raises(StorageError, match=r"images\.gz is damaged"):
        main(["toy", "--data-dir", str(tmp_path / "data")])
