"""Reads one's own images from a folder: class sub-folders, or image files without labels."""

import logging
import struct
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vae.data.arrays import ImageArrays, check_size, size_text
from vae.data.resize import WAY_OUT, resize_image
from vae.data.splits import Sources
from vae.errors import StorageError, UsageError, count_text

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff"}
N_READERS = 8
DRAFT = 4
"""A JPEG of many pixels is decoded at a fraction of its size, still this much larger than needed."""


def read_folder(folder: Path, resize: int | None = None) -> ImageArrays:
    """Images of `folder/<class>/` or, without labels, of `folder`; with `train/` and `test/`, of both.

    ``resize`` is that of `vae.data.load_dataset`.
    """
    parts = set(_class_names(folder))
    if parts & {"train", "test"} and not {"train"} <= parts <= {"train", "test"}:
        raise UsageError(
            f"{folder} has sub-folders {', '.join(sorted(parts))}; it must have train and test, train alone, "
            "or classes with other names"
        )
    train = folder / "train" if "train" in parts else folder
    test = folder / "test" if "test" in parts else None
    class_names = _class_names(train)
    images, labels, files = _read_part(train, class_names, resize)
    if test is None:
        return ImageArrays(images, labels, class_names, None, None, sources=_sources(files, folder))
    if _class_names(test) != class_names:
        odd = sorted(set(class_names) ^ set(_class_names(test)))[0]
        raise UsageError(
            f"class {odd!r} is in only one of {train} and {test}; both need the same class sub-folders"
        )
    test_images, test_labels, test_files = _read_part(test, class_names, resize)
    images, test_images = alike_in_colour([images, test_images])
    if test_images.shape[1:] != images.shape[1:]:
        raise UsageError(
            f"images in {test} are {size_text(test_images)}, those in {train} are {size_text(images)}; "
            f"make all the same: {WAY_OUT}"
        )
    return ImageArrays(
        images,
        labels,
        class_names,
        test_images,
        test_labels,
        sources=_sources(files, folder),
        test_sources=_sources(test_files, folder),
    )


def _sources(files: Sequence[Path], folder: Path) -> Sources:
    return Sources.of_files([file.relative_to(folder).as_posix() for file in files])


def parquet_folder(folder: Path) -> Path | None:
    """Return where Parquet files lie: here or, as Hugging Face has them, in the only sub-folder; or None."""
    if any(folder.glob("*.parquet")):
        return folder
    inside = [folder / name for name in _class_names(folder)]
    found = len(inside) == 1 and any(inside[0].glob("*.parquet")) and not holds_images(inside[0])
    return inside[0] if found else None


def holds_images(folder: Path) -> bool:
    """Whether a folder has sub-folders or image files, so that it is one for `read_folder`."""
    return bool(_class_names(folder)) or any(map(_is_image, folder.iterdir()))


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()


def _class_names(folder: Path) -> tuple[str, ...]:
    """Names of the sub-folders, sorted; none if the images lie in the folder itself."""
    return tuple(
        sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    )


def _read_part(
    folder: Path, class_names: tuple[str, ...], resize: int | None
) -> tuple[np.ndarray, np.ndarray | None, list[Path]]:
    """Images (n, H, W, C), labels (n,) or None without classes, and their files."""
    beside = [file for file in sorted(folder.iterdir()) if _is_image(file)]
    if not class_names:
        if not beside:
            raise UsageError(
                f"{folder} has neither class sub-folders nor images; put each class's images into a folder "
                "of its own, or unlabelled images into this one"
            )
        return _read_images(beside, resize), None, beside
    if beside:
        logger.warning("%s: left out %s beside the class folders", folder, count_text(len(beside), "image"))
    files, labels, n_ignored = [], [], 0
    for label, name in enumerate(class_names):
        inside = sorted(file for file in (folder / name).rglob("*") if file.is_file())
        found = [file for file in inside if _is_image(file)]
        if not found:
            raise UsageError(
                f"{folder / name} has no images ({', '.join(sorted(IMAGE_SUFFIXES))}); add some or delete it"
            )
        n_ignored += len(inside) - len(found)
        files += found
        labels += [label] * len(found)
    if n_ignored:
        kind = "file that is no image" if n_ignored == 1 else "files that are no images"
        logger.warning("%s: left out %d %s", folder, n_ignored, kind)
    return _read_images(files, resize), np.array(labels, dtype=np.int64), files


def _read_images(files: Sequence[Path], resize: int | None) -> np.ndarray:
    return read_images(files, [str(file) for file in files], resize)


def read_images(
    sources: Sequence[Path | BinaryIO], names: Sequence[str], resize: int | None = None
) -> np.ndarray:
    """Decode images of one size, uint8 (n, H, W, C); ``names`` say in errors which one it is.

    If some are grey and some in colour, all become colour.

    Raises
    ------
    UsageError
        An image is of another size than the first, or of one that no model takes.
    StorageError
        An image cannot be decoded.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor(N_READERS) as pool:
        warnings.simplefilter("ignore")  # Pillow's, about odd headers: an image can be decoded or not
        images = list(pool.map(lambda source, name: read_image(source, name, resize), sources, names))
    images = alike_in_colour(images)
    for name, image in zip(names, images, strict=True):
        if image.shape != images[0].shape:
            raise UsageError(
                f"{name} is {size_text(image)}, but {names[0]} is {size_text(images[0])}; "
                f"make all the same size: {WAY_OUT}"
            )
    return np.stack(images)


def alike_in_colour(images: list[np.ndarray]) -> list[np.ndarray]:
    """Return images (…, H, W, C) all with as many channels as the one with most: grey becomes colour."""
    channels = max(image.shape[-1] for image in images)
    return [image if image.shape[-1] == channels else np.repeat(image, channels, axis=-1) for image in images]


def read_image(source: Path | BinaryIO, name: str, resize: int | None = None) -> np.ndarray:
    """Decode one image as a viewer shows it: uint8 (H, W, C), upright, and opaque on white.

    Grey images have one channel, all others become RGB.

    Parameters
    ----------
    source
        A file, or what it contains.
    name
        What errors call it.
    resize
        Pixels a side, see `vae.data.resize`; without it the image must have a size that models take.

    Raises
    ------
    UsageError
        It is of another size, or has more than 8 bits per pixel.
    StorageError
        It cannot be decoded.
    """
    try:
        with Image.open(source) as image:
            if image.mode.startswith(("I", "F")):
                raise UsageError(f"{name} has more than 8 bits per pixel (mode {image.mode}); save it with 8")
            mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
            # before its pixels are decoded: a folder of photographs would fill the memory
            check_size((image.height, image.width, len(mode)), name, resize)
            if resize is not None:
                image.draft(mode, (DRAFT * resize, DRAFT * resize))
            shown = _on_white(_upright(image)).convert(mode)
            pixels = np.asarray(shown if resize is None else resize_image(shown, resize))
    except UsageError:
        raise
    except (
        OSError,
        SyntaxError,
        ValueError,
        MemoryError,  # a chunk that says it has gigabytes
        Image.DecompressionBombError,
    ) as error:  # found by flipping bytes
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its format is not known" if unknown else str(error).replace(str(source), "the file")
        raise StorageError(f"cannot read {name} as an image: {reason}; replace or delete it") from None
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _upright(image: Image.Image) -> Image.Image:
    """Turn a photograph as its camera noted (EXIF); a note that cannot be read turns nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except (KeyError, TypeError, struct.error):
        return image


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
