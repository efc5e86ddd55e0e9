"""Reads one's own images from a folder: class sub-folders, or image files without labels."""

import logging
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from vae.data.arrays import ImageArrays, check_size, size_text
from vae.errors import StorageError, UsageError

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff"}
N_READERS = 8


def read_folder(folder: Path) -> ImageArrays:
    """Images of `folder/<class>/` or, without labels, of `folder`; with `train/` and `test/`, of both."""
    parts = set(_class_names(folder))
    if parts & {"train", "test"} and not {"train"} <= parts <= {"train", "test"}:
        raise UsageError(
            f"{folder} has sub-folders {', '.join(sorted(parts))}; it must have train and test, train alone, "
            "or classes with other names"
        )
    train = folder / "train" if "train" in parts else folder
    test = folder / "test" if "test" in parts else None
    class_names = _class_names(train)
    images, labels = _read_part(train, class_names)
    if test is None:
        return ImageArrays(images, labels, class_names, None, None)
    if _class_names(test) != class_names:
        odd = sorted(set(class_names) ^ set(_class_names(test)))[0]
        raise UsageError(
            f"class {odd!r} is in only one of {train} and {test}; both need the same class sub-folders"
        )
    test_images, test_labels = _read_part(test, class_names)
    if test_images.shape[1:] != images.shape[1:]:
        raise UsageError(
            f"images in {test} are {size_text(test_images)}, those in {train} are {size_text(images)}; "
            "make all the same"
        )
    return ImageArrays(images, labels, class_names, test_images, test_labels)


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


def _read_part(folder: Path, class_names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray | None]:
    """Images (n, H, W, C) and labels (n,), or None without classes."""
    beside = [file for file in sorted(folder.iterdir()) if _is_image(file)]
    if not class_names:
        if not beside:
            raise UsageError(
                f"{folder} has neither class sub-folders nor images; put each class's images into a folder "
                "of its own, or unlabelled images into this one"
            )
        return _read_images(beside), None
    if beside:
        logger.warning("%s: %d images beside the class folders were left out", folder, len(beside))
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
        logger.warning("%s: %d files that are not images were left out", folder, n_ignored)
    return _read_images(files), np.array(labels, dtype=np.int64)


def _read_images(files: Sequence[Path]) -> np.ndarray:
    return read_images(files, [str(file) for file in files])


def read_images(sources: Sequence[Path | BinaryIO], names: Sequence[str]) -> np.ndarray:
    """Decode images of one size, uint8 (n, H, W, C); ``names`` say in errors which one it is.

    Raises
    ------
    UsageError
        An image is of another size than the first, or of one that no model takes.
    StorageError
        An image cannot be decoded.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor(N_READERS) as pool:
        warnings.simplefilter("ignore")  # Pillow's, about odd headers: an image can be decoded or not
        images = list(pool.map(_read_image, sources, names))
    for name, image in zip(names, images, strict=True):
        if image.shape != images[0].shape:
            raise UsageError(
                f"{name} is {size_text(image)}, but {names[0]} is {size_text(images[0])}; "
                "make all the same size, and all grey or all colour"
            )
    return np.stack(images)


def _read_image(source: Path | BinaryIO, name: str) -> np.ndarray:
    """Pixels uint8 (H, W, C): grey images stay grey, all others become RGB, transparency is dropped."""
    try:
        with Image.open(source) as image:
            if image.mode.startswith(("I", "F")):
                raise UsageError(f"{name} has more than 8 bits per pixel (mode {image.mode}); save it with 8")
            mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
            # before its pixels are decoded: a folder of photographs would fill the memory
            check_size((image.height, image.width, len(mode)), name)
            pixels = np.asarray(image.convert(mode))
    except UsageError:
        raise
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:  # found by flipping bytes
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its format is not known" if unknown else str(error).replace(str(source), "the file")
        raise StorageError(f"cannot read {name} as an image: {reason}; replace or delete it") from None
    return pixels[..., None] if pixels.ndim == 2 else pixels
