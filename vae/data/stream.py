"""All images of a source in chunks, so that any number fits into memory, without labels and parts."""

import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from vae.data.arrays import check_size, size_text, to_uint8
from vae.data.dataset import DATASETS, image_set, load_dataset
from vae.data.folders import IMAGE_SUFFIXES, read_images
from vae.data.npz import ARRAY_HEADERS, LAYOUTS, npy_files
from vae.data.parquet import image_column
from vae.data.parquet_columns import image_sources, pixels
from vae.errors import StorageError, UsageError

CHUNK = 2048
"""Images at once: of the largest that a model takes, 64×64 in colour, 25 MB."""
IMAGE_ARRAYS = dict.fromkeys(name for layout in LAYOUTS.values() for name in layout.image_names)
"""Arrays of an `.npz` that hold images, in order."""
BUFFER_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class ImageChunk:
    """Consecutive images of a source."""

    images: Tensor
    """uint8 (n, C, H, W)."""
    sources: list[str]
    """What each image is called: its path below the folder, or the name of its array and its row."""


@dataclass(frozen=True, slots=True)
class ImageStream:
    """All images of a source: how many there are, and their chunks, read when they are asked for."""

    n_images: int
    chunks: Iterator[ImageChunk]


def stream_images(
    source: str | Path,
    image_shape: tuple[int, int, int],
    data_dir: Path | None = None,
    *,
    resize: int | None = None,
) -> ImageStream:
    """Open what `load_dataset` reads, without labels, parts or a least number of images.

    Parameters
    ----------
    source
        A name, such as ``fmnist``; a folder of images, at any depth, of Parquet files or of `.npy` arrays; an
        `.npz`, `.npy`, `.parquet` or image file.
    image_shape
        What all images must have: channels, height, width. Grey images are made colour for 3 channels.
    data_dir
        Where downloads are kept.
    resize
        As in `load_dataset`.

    Returns
    -------
    ImageStream
        The training images first, then the test images; those of a folder in the order of their paths. The
        chunks raise a UsageError or a StorageError for an image that cannot be used or read.

    Raises
    ------
    UsageError
        There is no such source, or it holds no images.
    StorageError
        It cannot be read.

    Examples
    --------
    >>> stream = stream_images("digits", (1, 8, 8))
    >>> stream.n_images, next(stream.chunks).images.shape
    (1797, torch.Size([1438, 1, 8, 8]))
    """
    try:
        n_images, arrays = _open(source, data_dir, resize)
    except OSError as error:
        raise StorageError(f"cannot read {error.filename or source}: {error.strerror or error}") from None
    return ImageStream(n_images, _checked(arrays, source, image_shape))


_Arrays = Iterator[tuple[np.ndarray, list[str]]]
"""Images uint8 (n, H, W, C) and their sources."""


def _checked(arrays: _Arrays, source: str | Path, image_shape: tuple[int, int, int]) -> Iterator[ImageChunk]:
    channels, height, width = image_shape
    for images, sources in arrays:
        if channels == 3 and images.shape[3] == 1:
            images = np.repeat(images, 3, axis=3)  # as in a folder with some in colour
        if images.shape[1:] != (height, width, channels):
            first = str(source) if sources[0] == Path(source).name else f"{sources[0]} in {source}"
            colours = "grey" if channels == 1 else "RGB"
            change = "resize the images" if images.shape[3] == channels else f"make the images {colours}"
            raise UsageError(
                f"{first} is {size_text(images)} (height x width x channels), the model was trained on "
                f"{height}x{width}x{channels}; {change}"
            )
        yield ImageChunk(image_set(images, None).images, sources)


def _open(source: str | Path, data_dir: Path | None, resize: int | None) -> tuple[int, _Arrays]:
    """Return the number of images and the images themselves."""
    path = Path(source).expanduser()
    if str(source) in DATASETS:
        return _read_dataset(str(source), data_dir, resize)
    if files := npy_files(path):
        return _read_arrays(
            path, {name: file for name, file in files.items() if name in IMAGE_ARRAYS}, resize
        )
    if path.is_dir():
        return _read_folder(path, resize)
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        return 1, _read_files(path.parent, [path.name], resize)
    if path.suffix == ".npz" and path.is_file():
        with _array_errors(path), zipfile.ZipFile(path) as archive:
            names = [name for name in IMAGE_ARRAYS if f"{name}.npy" in archive.namelist()]
            if not names:
                raise UsageError(f"{path} has no array of images; name it 'images'")
            return _read_arrays(path, {name: zipfile.Path(path, f"{name}.npy") for name in names}, resize)
    if path.suffix == ".parquet" and path.is_file():
        return _read_parquet([path], path.parent, resize)
    load_dataset(source, data_dir)  # says what a source may be
    raise AssertionError(source)


def _read_dataset(name: str, data_dir: Path | None, resize: int | None) -> tuple[int, _Arrays]:
    dataset = load_dataset(name, data_dir, resize=resize)
    parts = (dataset.train, dataset.test)

    def arrays() -> _Arrays:
        assert dataset.sources is not None
        for part, sources in zip(parts, dataset.sources, strict=True):
            rows, names = part.images.permute(0, 2, 3, 1).numpy(), sources.to_list()
            for start in range(0, len(rows), CHUNK):
                yield rows[start : start + CHUNK], names[start : start + CHUNK]

    return sum(map(len, parts)), arrays()


def _read_folder(folder: Path, resize: int | None) -> tuple[int, _Arrays]:
    images, tables = [], []
    for directory, names, files in os.walk(folder):
        names[:] = [name for name in names if not name.startswith(".")]
        below = os.path.relpath(directory, folder)
        for file in files:
            name = file if below == os.curdir else os.path.join(below, file)
            if file.startswith("."):
                continue
            if os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES:
                images.append(name)
            elif file.endswith(".parquet") and not file.startswith("_"):
                tables.append(name)
    images.sort(key=_parts)
    if images:
        return len(images), _read_files(folder, images, resize)
    if tables:
        return _read_parquet([folder / name for name in sorted(tables, key=_parts)], folder, resize)
    raise UsageError(f"{folder} has no images ({', '.join(sorted(IMAGE_SUFFIXES))}) and no Parquet files")


def _parts(name: str) -> list[str]:
    return name.split(os.sep)


def _read_files(folder: Path, names: list[str], resize: int | None) -> _Arrays:
    for start in range(0, len(names), CHUNK):
        block = names[start : start + CHUNK]
        files = [folder / name for name in block]
        yield (
            read_images(files, [str(file) for file in files], resize),
            [Path(name).as_posix() for name in block],
        )


def _read_arrays(
    path: Path, files: Mapping[str, Path | zipfile.Path], resize: int | None
) -> tuple[int, _Arrays]:
    """Read arrays block by block: `numpy.load` would read each of an `.npz` as a whole."""
    shapes = {}
    for name, file in files.items():
        with _array_errors(path), file.open("rb") as opened:
            shapes[name] = shape = _header(opened)[0]
        if len(shape) not in (3, 4) or shape[0] == 0:  # as `to_uint8` would say of its blocks
            raise UsageError(
                f"{name} in {path} have shape {shape}, must be (n, H, W) or (n, H, W, C) with n >= 1"
            )
        check_size((*shape[1:3], *(shape[3:] or [1])), f"{name} in {path}", resize)

    def arrays() -> _Arrays:
        for name, file in files.items():
            with _array_errors(path), file.open("rb") as opened:
                for start, block in _blocks(opened, shapes[name]):
                    where = f"{name} in {path}" + (f" from image {start} on" if start else "")
                    images = to_uint8(block, where, resize, is_first=not start)
                    yield images, [f"{name}/{start + row}" for row in range(len(images))]

    return sum(shape[0] for shape in shapes.values()), arrays()


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether the first index runs fastest, and type; leave the file at the values."""
    read = ARRAY_HEADERS.get(np.lib.format.read_magic(file))
    if read is None:
        raise ValueError("it holds an array of an unknown kind")
    shape, is_fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, no numbers")
    return shape, is_fortran, dtype


def _blocks(file: IO[bytes], shape: tuple[int, ...]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first row and the values of each block of an array (n, ...)."""
    _, is_fortran, dtype = _header(file)
    if is_fortran:  # no image lies in one piece
        values = np.frombuffer(_read_exactly(file, math.prod(shape) * dtype.itemsize), dtype)
        whole = values.reshape(shape, order="F")
        for start in range(0, len(whole), CHUNK):
            yield start, whole[start : start + CHUNK]
        return
    for start in range(0, shape[0], CHUNK):
        n = min(CHUNK, shape[0] - start)
        content = _read_exactly(file, n * math.prod(shape[1:]) * dtype.itemsize)
        yield start, np.frombuffer(content, dtype).reshape(n, *shape[1:])
    if file.read(1):  # reads to the end, where the checksum is
        raise ValueError("an array is longer than it says")


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise ValueError("an array is shorter than it says")
    return content


@contextmanager
def _array_errors(path: Path) -> Iterator[None]:
    """Turn what a damaged file raises into a StorageError."""
    try:
        yield
    except UsageError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        kind, function = (".npz", "savez") if path.suffix == ".npz" else (".npy", "save")
        raise StorageError(
            f"cannot read {path} as {kind}: {error}; write it again with numpy.{function}"
        ) from None


def _read_parquet(files: list[Path], folder: Path, resize: int | None) -> tuple[int, _Arrays]:
    counts = [_count_rows(file) for file in files]
    if not sum(counts):
        raise UsageError(f"{files[0]} has no rows; add images or delete it")

    def arrays() -> _Arrays:
        for file, n_rows in zip(files, counts, strict=True):
            if n_rows:
                yield from _read_rows(file, file.relative_to(folder).as_posix(), resize)

    return sum(counts), arrays()


def _read_rows(file: Path, name: str, resize: int | None) -> _Arrays:
    start = 0
    try:
        # As a stream: pyarrow would hold all that a row group has of the column, in many files all rows.
        with pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False) as parquet:
            column = image_column(file, parquet.schema_arrow)
            for batch in parquet.iter_batches(CHUNK, columns=[column]):
                images = pa.chunked_array([batch.column(0)])
                where = f"column '{column}' of {file}" + (f" from row {start} on" if start else "")
                yield pixels(images, where, resize, is_first=not start), image_sources(images, name, start)
                start += len(images)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"cannot read {file} as Parquet: {error}; write it again") from None


def _count_rows(file: Path) -> int:
    try:
        return int(pq.read_metadata(file).num_rows)
    except pa.ArrowException as error:
        raise StorageError(f"cannot read {file} as Parquet: {error}; write it again") from None
