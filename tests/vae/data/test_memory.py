"""Images in `.npy` files: as those of an `.npz`, and left on the disk where memory cannot hold them."""

import os

import numpy as np
import pytest

import vae
from tests.vae.data.test_dataset import random_images
from vae.data import load_dataset
from vae.data.stream import stream_images
from vae.errors import StorageError, UsageError

N = 90
LABELS = np.arange(N) % 2


def write_arrays(folder, **arrays):
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.savez(folder.with_suffix(".npz"), **arrays)
    return folder


@pytest.fixture
def little_memory(monkeypatch):
    """Less than twice the images."""
    monkeypatch.setattr("vae.data.memory.memory_bytes", lambda: N * 8 * 9 * 3)


@pytest.mark.parametrize("shape", [(8, 9, 1), (8, 9, 3)])
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_folder_of_npy_files_is_the_data_set_of_an_npz(tmp_path, shape, on_disk, monkeypatch):
    images, groups = random_images(N, shape), np.arange(N) // 3
    folder = write_arrays(tmp_path / "a", images=images, labels=LABELS, groups=groups)
    if on_disk:
        monkeypatch.setattr("vae.data.memory.memory_bytes", lambda: 0)
    mapped = load_dataset(folder, on_disk=on_disk)
    monkeypatch.undo()
    known = load_dataset(tmp_path / "a.npz")
    assert mapped.fingerprint == known.fingerprint
    assert mapped.sources[1].to_list() == known.sources[1].to_list()


def test_other_numbers_and_sizes_are_converted_as_those_of_an_npz(tmp_path, monkeypatch):
    monkeypatch.setattr("vae.data.npz.CHUNK_BYTES", 7 * 20 * 30 * 8)  # 7 images at once
    folder = write_arrays(tmp_path / "a", images=np.random.default_rng(0).random((50, 20, 30)))
    assert (
        load_dataset(folder, resize=8).fingerprint == load_dataset(tmp_path / "a.npz", resize=8).fingerprint
    )


def test_a_file_alone_is_unlabelled_images(tmp_path):
    folder = write_arrays(tmp_path / "a", images=random_images(50), labels=np.arange(50) % 2)
    dataset = load_dataset(folder / "images.npy")
    assert (len(dataset.train), dataset.train.labels, dataset.name) == (40, None, "images")


def test_a_stream_of_npy_files_is_that_of_an_npz(tmp_path):
    folder = write_arrays(tmp_path / "a", images=random_images(30), test_images=random_images(20, seed=1))
    first, second = (stream_images(path, (1, 8, 8)) for path in (folder, tmp_path / "a.npz"))
    assert first.n_images == second.n_images == 50
    for ours, theirs in zip(first.chunks, second.chunks, strict=True):
        assert ours.sources == theirs.sources
        assert ours.images.equal(theirs.images)
    alone = next(stream_images(folder / "test_images.npy", (1, 8, 8)).chunks)
    assert alone.sources[3] == "images/3"


def test_images_beyond_memory_are_refused_with_both_figures_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr("vae.data.memory.memory_bytes", lambda: 10**9)
    monkeypatch.setattr("vae.data.npz.memory_bytes", lambda: 10**9)
    images = np.lib.format.open_memmap(
        tmp_path / "big.npy", "w+", np.uint8, (200_000, 64, 64)
    )  # a sparse file
    del images
    message = (
        r"big\.npy: its images are 0\.8 GB and need twice that, this machine has 1\.0 GB of memory; take"
    )
    with pytest.raises(UsageError, match=message):
        load_dataset(tmp_path / "big.npy")


def test_training_from_the_disk_gives_the_same_weights(tmp_path, little_memory, monkeypatch):
    def train(path):
        return vae.train(path, device="cpu", progress=False, max_epochs=2, batch_size=16, width=0.25)

    folder = write_arrays(tmp_path / "a", images=random_images(N, (8, 9, 3)), labels=LABELS)
    sizes, allocate = [], os.posix_fallocate

    def note(file, start, size):
        sizes.append(size)
        allocate(file, start, size)

    monkeypatch.setattr("vae.data.memory.os.posix_fallocate", note)
    mapped = train(folder)
    assert sizes[:2] == [72 * 8 * 9 * 3, 60 * 8 * 9 * 3]  # without the test part; without validation images
    monkeypatch.undo()
    assert mapped.history.val_loss.equals(train(tmp_path / "a.npz").history.val_loss)


def test_a_disk_without_room_is_one_line(tmp_path, little_memory, monkeypatch):
    def is_full(*_):
        raise OSError(28, "No space left on device")

    folder = write_arrays(tmp_path / "a", images=random_images(N, (8, 9, 3)), labels=LABELS)
    monkeypatch.setattr("vae.data.memory.os.posix_fallocate", is_full)
    with pytest.raises(
        StorageError, match=r"cannot keep 0\.0 GB of images in .*: No space left.*; set TMPDIR"
    ):
        load_dataset(folder, on_disk=True)


@pytest.mark.parametrize(
    ("arrays", "resize", "message"),
    [
        ({"images": np.zeros((N, 8, 9, 3))}, None, "must be saved as uint8"),
        ({"images": random_images(N, (80, 90, 3))}, 64, "must be saved as uint8 and of the right size"),
        ({"images": random_images(N, (80, 90, 3))}, None, "must be 8 to 64 pixels a side"),
        ({"images": random_images(N, (9,))}, None, r"have shape \(90, 9\), must be \(n, H, W\)"),
        (
            {"images": random_images(N), "photos": random_images(N)},
            None,
            r"unknown array photos\.npy; the names",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, little_memory, arrays, resize, message):
    with pytest.raises(UsageError, match=message):
        load_dataset(write_arrays(tmp_path / "a", **arrays), resize=resize, on_disk=True)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00v\x00{'descr'", b"no array"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(StorageError, match=r"cannot read .*a\.npy as \.npy: .*numpy\.save"):
        load_dataset(tmp_path / "a.npy")
    with pytest.raises(StorageError, match=r"cannot read .*a\.npy as \.npy: .*numpy\.save"):
        stream_images(tmp_path / "a.npy", (1, 8, 8))
