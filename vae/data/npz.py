"""Reads `.npz` files, under this project's names for the arrays, Keras' and MedMNIST's, and `.npy` files."""

import logging
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vae.data.arrays import ImageArrays, check_arrays, to_uint8
from vae.data.memory import exceed_memory, memory_bytes
from vae.data.splits import Sources
from vae.errors import StorageError, UsageError, count_text

logger = logging.getLogger(__name__)

CHUNK_BYTES = 2**28


@dataclass(frozen=True)
class Layout:
    """Names of the arrays of images and of their labels, as one publisher writes them."""

    train: tuple[str, str]
    test: tuple[str, str]
    groups: tuple[str, str] = ("groups", "test_groups")
    """What each image belongs to: this project's own names, which may stand in any file."""
    validation: tuple[str, str] | None = None
    """They join the training images: a search chooses its validation images by itself."""

    @property
    def image_names(self) -> tuple[str, ...]:
        return (self.train[0], *(self.validation or ())[:1], self.test[0])

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.train, *(self.validation or ()), *self.test, *self.groups)


LAYOUTS = {
    "this project": Layout(("images", "labels"), ("test_images", "test_labels")),
    "Keras": Layout(("x_train", "y_train"), ("x_test", "y_test")),
    "MedMNIST": Layout(
        ("train_images", "train_labels"),
        ("test_images", "test_labels"),
        validation=("val_images", "val_labels"),
    ),
}


def read_npz(path: Path, resize: int | None = None) -> ImageArrays:
    """Read the arrays of one of `LAYOUTS`; labels, groups and the test part may be missing.

    Images are (n, H, W) or (n, H, W, C), labels (n,) or (n, 1); ``resize`` is that of
    `vae.data.load_dataset`.
    """
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except MemoryError as error:
        raise StorageError(f"cannot read {path}: {error}; take fewer or smaller images") from None
    except _DAMAGED as error:
        raise StorageError(f"cannot read {path} as .npz: {error}; write it again with numpy.savez") from None
    layout = next((layout for layout in LAYOUTS.values() if layout.train[0] in arrays), None)
    if layout is None:
        raise UsageError(f"{path} has no array 'images', it has {sorted(arrays)}; name the array 'images'")
    if unknown := sorted(set(arrays) - set(layout.names)):
        raise UsageError(
            f"{path} has an unknown array {unknown[0]!r}; the names are {', '.join(sorted(layout.names))}"
        )
    images, labels = arrays[layout.train[0]], arrays.get(layout.train[1])
    if layout.validation and (beside := arrays.get(layout.validation[0])) is not None:
        images, labels = _joined(path, layout, images, labels, beside, arrays.get(layout.validation[1]))
    checked = check_arrays(
        images,
        labels,
        *(arrays.get(name) for name in layout.test),
        source=path,
        resize=resize,
        groups=arrays.get(layout.groups[0]),
        test_groups=arrays.get(layout.groups[1]),
        names=(layout.train[0], layout.test[0]),
    )
    if labels is None:
        logger.info("%s has no array '%s': its images are unlabelled", path, layout.train[1])
    if layout.validation is None or layout.validation[0] not in arrays:
        return checked
    parts = [Sources.of_rows(name, len(arrays[name])) for name in (layout.train[0], layout.validation[0])]
    return replace(checked, sources=Sources.of_files([text for part in parts for text in part.to_list()]))


def _joined(path: Path, layout: Layout, *parts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the training images and labels with those of validation behind them."""
    images, labels, beside, beside_labels = parts
    assert images is not None
    assert beside is not None
    assert layout.validation is not None
    if images.shape[1:] != beside.shape[1:] or (labels is None) != (beside_labels is None):
        raise UsageError(
            f"{path}: {layout.train[0]} and {layout.validation[0]} have other sizes, or only one has labels; "
            "make both alike"
        )
    joining = f"{count_text(len(beside), 'validation image')} join{'s' * (len(beside) == 1)}"
    logger.info("%s: its %s the training images", path, joining)
    joined = None if labels is None or beside_labels is None else np.concatenate([labels, beside_labels])
    return np.concatenate([images, beside]), joined


def _check_sizes(path: Path) -> None:
    """Refuse arrays that are larger than the file or the memory before room for them is asked for.

    Raises
    ------
    StorageError
        One of them is.
    """
    needed = 0
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                read_header = ARRAY_HEADERS.get(np.lib.format.read_magic(file))
                if read_header is None:  # of a kind that no array of numbers or names has
                    continue
                shape, _, dtype = read_header(file)
                size, there = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
            if size > there and not dtype.hasobject:
                raise StorageError(
                    f"cannot read {path} as .npz: {member.filename} says that it has {shape} values of"
                    f" {dtype}, which are {size:,} bytes, but holds {there:,}; write it with numpy.savez"
                )
            needed += size
    if exceed_memory(needed):
        raise StorageError(
            f"cannot read {path}: its arrays are {needed:,} bytes and need twice that, this machine has "
            f"{memory_bytes():,} bytes of memory; take fewer or smaller images"
        )


_DAMAGED = (
    *(OSError, ValueError, TypeError, EOFError, KeyError, OverflowError, SyntaxError, NotImplementedError),
    *(RuntimeError, RecursionError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What NumPy and zipfile raise on a damaged file; found by `make fuzz`."""

ARRAY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""What reads the header of an `.npy`, by its version."""


def npy_files(path: Path) -> dict[str, Path]:
    """Return the arrays that a folder of `.npy` files has, or a single one; none without images.

    Raises
    ------
    UsageError
        The folder has an array under an unknown name.
    """
    if path.suffix == ".npy" and path.is_file():
        return {"images": path}
    if not (path / "images.npy").is_file():
        return {}
    names = LAYOUTS["this project"].names
    if unknown := sorted(file.stem for file in path.glob("*.npy") if file.stem not in names):
        raise UsageError(
            f"{path} has an unknown array {unknown[0]}.npy; the names are {', '.join(sorted(names))}"
        )
    return {name: file for name in names if (file := path / f"{name}.npy").is_file()}


def read_npy(path: Path, resize: int | None = None, *, on_disk: bool = False) -> ImageArrays:
    """Read a folder with `images.npy` and, if known, `labels.npy` and others; or one file of images alone.

    Images are read in chunks, so that only their bytes after ``resize`` need memory. With ``on_disk`` those
    that it cannot hold stay in their file, which is mapped (`numpy.memmap`).

    Raises
    ------
    UsageError
        They cannot be used, or they exceed the memory.
    StorageError
        A file cannot be read.
    """
    files = npy_files(path)
    arrays = {name: _mapped(file) for name, file in files.items()}
    images = {name: array for name, array in arrays.items() if name.endswith("images")}
    needed = 0
    for name, array in images.items():
        where = f"images in {files[name]}"
        first = array[:1] if array.ndim in (3, 4) else array
        needed += len(array) * to_uint8(first, where, resize, is_first=False)[0].size
    too_many = exceed_memory(needed)
    if too_many:
        _check_stay(path, needed, images, resize, on_disk)
    for name, array in images.items():
        arrays[name] = array if too_many else _in_memory(array, f"images in {files[name]}", resize)
    checked = check_arrays(
        arrays["images"],
        *(arrays.get(name) for name in ("labels", "test_images", "test_labels")),
        source=path,
        groups=arrays.get("groups"),
        test_groups=arrays.get("test_groups"),
    )
    if checked.labels is None:
        logger.info("%s has no labels.npy: its images are unlabelled", path)
    return checked


def _mapped(file: Path) -> np.ndarray:
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except _DAMAGED as error:
        raise StorageError(f"cannot read {file} as .npy: {error}; write it again with numpy.save") from None
    return array if "images" in file.stem or array.ndim > 2 else np.array(array)


def _check_stay(
    path: Path, needed: int, images: Mapping[str, np.ndarray], resize: int | None, on_disk: bool
) -> None:
    """Raise a UsageError unless images that exceed the memory may and can stay in their files."""
    problem = (
        f"{path}: its images are {needed / 1e9:.1f} GB and need twice that, this machine has "
        f"{memory_bytes() / 1e9:.1f} GB of memory"
    )
    if not on_disk:
        raise UsageError(
            f"{problem}; take fewer, make them smaller with --resize, or train one VAE with "
            "`python -m vae train`, which leaves them on the disk"
        )
    if resize is not None or any(array.dtype != np.uint8 for array in images.values()):
        raise UsageError(
            f"{problem}; to be left on the disk, they must be saved as uint8 and of the right size"
        )


def _in_memory(images: np.ndarray, where: str, resize: int | None) -> np.ndarray:
    """Return the images uint8 (n, H, W, C), converted in chunks."""
    n = max(1, CHUNK_BYTES // images[0].nbytes)
    chunks = [
        to_uint8(images[start : start + n], where, resize, is_first=start == 0)
        for start in range(0, len(images), n)
    ]
    return np.concatenate(chunks)
