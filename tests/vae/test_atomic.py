import errno
import os
import stat

import pytest

from vae.atomic import replaced_directory, replaced_file, write_directory, write_text
from vae.errors import StorageError


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "report.html"
    write_text("old", path)

    def write_half() -> None:
        with replaced_file(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_takes_its_place_when_all_of_it_is_on_the_disk(tmp_path, monkeypatch):
    synced, there, sync, rename = set(), [], os.fsync, os.rename

    def note_sync(descriptor):
        sync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    def note_rename(source, target):
        there.append({path.stat().st_ino for path in (source, *source.rglob("*"))})
        assert there[-1] <= synced
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    write_directory({"model": b"weights", "config": b"{}"}, tmp_path / "checkpoint")
    with replaced_directory(tmp_path / "embeddings") as staging:
        write_text("points", staging / "dim=2" / "part")
    assert [len(inodes) for inodes in there] == [3, 3]


def test_a_filesystem_that_cannot_sync_directories_will_do(tmp_path, monkeypatch):
    sync = os.fsync

    def refuse_directories(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_directories)
    write_directory({"model": b"weights"}, tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint" / "model").read_bytes() == b"weights"

    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="cannot write .*checkpoint: Input/output error"):
        write_directory({"model": b"other"}, tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint" / "model").read_bytes() == b"weights"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").touch()
    (tmp_path / "checkpoint").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    for name in ("checkpoint", "broken"):
        write_directory({"model": b"weights"}, tmp_path / name)
        assert (tmp_path / name / "model").read_bytes() == b"weights"
    assert (tmp_path / "elsewhere" / "mine").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "checkpoint", "elsewhere"]


def test_folders_on_the_way_are_made(tmp_path):
    write_text("new", tmp_path / "a" / "b.txt")
    assert (tmp_path / "a" / "b.txt").read_text() == "new"


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write .*file/report.html: Not a directory|File exists"):
        write_text("", tmp_path / "file" / "report.html")
