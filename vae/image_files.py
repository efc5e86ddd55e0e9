"""Reads a person's own images: a folder of class sub-folders, or an `.npz` with images and labels."""

import logging
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vae.errors import StorageError, UserError

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff"}
MIN_SIDE, MAX_SIDE = 8, 64
N_READERS = 8


@dataclass(frozen=True, eq=False)
class OwnImages:
    """Images uint8 (n, H, W, C) and labels int64 (n,) that index `class_names`, or None."""

    images: np.ndarray
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    test_images: np.ndarray | None
    """None when the source has no test part."""
    test_labels: np.ndarray | None


def read_folder(folder: Path) -> OwnImages:
    """Images of `folder/<class>/`, or of `folder/train/<class>/` and `folder/test/<class>/`."""
    parts = set(_class_names(folder))
    if parts & {"train", "test"} and not {"train"} <= parts <= {"train", "test"}:
        raise UserError(
            f"{folder} has sub-folders {', '.join(sorted(parts))}; it must have train and test, train alone, "
            "or classes with other names"
        )
    train = folder / "train" if "train" in parts else folder
    test = folder / "test" if "test" in parts else None
    class_names = _class_names(train)
    images, labels = _read_classes(train, class_names)
    if test is None:
        return OwnImages(images, labels, class_names, None, None)
    if _class_names(test) != class_names:
        odd = sorted(set(class_names) ^ set(_class_names(test)))[0]
        raise UserError(
            f"class {odd!r} is in only one of {train} and {test}; both need the same class sub-folders"
        )
    test_images, test_labels = _read_classes(test, class_names)
    if test_images.shape[1:] != images.shape[1:]:
        raise UserError(
            f"images in {test} are {_size(test_images)}, those in {train} are {_size(images)}; "
            "make all the same"
        )
    return OwnImages(images, labels, class_names, test_images, test_labels)


def read_npz(path: Path) -> OwnImages:
    """Array `images` (n, H, W) or (n, H, W, C); `labels`, `test_images`, `test_labels` if there are any."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise StorageError(f"cannot read {path} as .npz: {error}; write it again with numpy.savez") from None
    if "images" not in arrays:
        raise UserError(f"{path} has no array 'images', it has {sorted(arrays)}; name the array 'images'")
    known = {"images", "labels", "test_images", "test_labels"}
    if unknown := sorted(set(arrays) - known):
        raise UserError(
            f"{path} has an unknown array {unknown[0]!r}; the names are {', '.join(sorted(known))}"
        )
    if ("test_images" in arrays) != ("test_labels" in arrays) and "labels" in arrays:
        raise UserError(f"{path} has labels, so it needs both of test_images and test_labels, or neither")
    if "labels" not in arrays and "test_labels" in arrays:
        raise UserError(f"{path} has test_labels without labels; add labels or take test_labels away")

    images = _to_uint8(arrays["images"], f"images in {path}")
    test_images = (
        _to_uint8(arrays["test_images"], f"test_images in {path}") if "test_images" in arrays else None
    )
    if test_images is not None and test_images.shape[1:] != images.shape[1:]:
        raise UserError(
            f"test_images in {path} are {_size(test_images)}, images are {_size(images)}; make all the same"
        )
    if "labels" not in arrays:
        return OwnImages(images, None, (), test_images, None)
    names = _check_labels(arrays["labels"], images, f"labels in {path}")
    test_labels = None
    if test_images is not None:
        extra = np.setdiff1d(
            _check_labels(arrays["test_labels"], test_images, f"test_labels in {path}"), names
        )
        if len(extra):
            raise UserError(f"test_labels in {path} has class {extra[0]}, which labels has not")
        test_labels = np.searchsorted(names, arrays["test_labels"]).astype(np.int64)
    labels = np.searchsorted(names, arrays["labels"]).astype(np.int64)
    return OwnImages(images, labels, tuple(str(name) for name in names), test_images, test_labels)


def _class_names(folder: Path) -> tuple[str, ...]:
    names = sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    if not names:
        raise UserError(
            f"{folder} has no class sub-folders; put each class's images into a folder of its own, "
            "or give unlabelled images as an .npz with an array 'images'"
        )
    return tuple(names)


def _read_classes(folder: Path, class_names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    files, labels, n_ignored = [], [], 0
    for label, name in enumerate(class_names):
        inside = sorted(file for file in (folder / name).rglob("*") if file.is_file())
        found = [file for file in inside if file.suffix.lower() in IMAGE_SUFFIXES]
        if not found:
            raise UserError(
                f"{folder / name} has no images ({', '.join(sorted(IMAGE_SUFFIXES))}); add some or delete it"
            )
        n_ignored += len(inside) - len(found)
        files += found
        labels += [label] * len(found)
    if n_ignored:
        logger.warning("%s: %d files that are not images were left out", folder, n_ignored)
    with ThreadPoolExecutor(N_READERS) as pool:
        images = list(pool.map(_read_image, files))
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            raise UserError(
                f"{file} is {_size(image)}, but {files[0]} is {_size(images[0])}; make all the same"
            )
    return np.stack(images), np.array(labels, dtype=np.int64)


def _read_image(file: Path) -> np.ndarray:
    """Pixels uint8 (H, W, C): grey images stay grey, all others become RGB, transparency is dropped."""
    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise UserError(f"{file} has more than 8 bits per pixel (mode {image.mode}); save it with 8")
            mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
            # before its pixels are decoded: a folder of photographs would fill the memory
            _check_size((image.height, image.width, len(mode)), str(file))
            pixels = np.asarray(image.convert(mode))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).replace(str(file), "the file").replace(repr(str(file)), "the file")
        raise StorageError(f"cannot read the image {file}: {reason}; replace or delete it") from None
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _to_uint8(images: np.ndarray, where: str) -> np.ndarray:
    """Images uint8 (n, H, W, C) from whole numbers in 0..255 or floats in [0, 1]."""
    if images.ndim not in (3, 4) or len(images) == 0:
        raise UserError(f"{where} have shape {images.shape}, must be (n, H, W) or (n, H, W, C) with n >= 1")
    images = images[..., None] if images.ndim == 3 else images
    _check_size(images.shape[1:], where)
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "iuf":
        raise UserError(f"{where} are {images.dtype}, must be uint8, or floats in [0, 1]; convert them")
    if not np.isfinite(images).all():
        first = int(np.argwhere(~np.isfinite(images))[0][0])
        raise UserError(f"{where} contain NaN or infinity, first in image {first}; clean them")
    highest = 1 if images.dtype.kind == "f" else 255
    if images.min() < 0 or images.max() > highest:
        kind = "floats must be in [0, 1]" if highest == 1 else "whole numbers must be in 0..255"
        raise UserError(
            f"{where} have values from {images.min():g} to {images.max():g}, {kind}; rescale them"
        )
    return np.round(images * 255).astype(np.uint8) if highest == 1 else images.astype(np.uint8)


def _check_size(shape: tuple[int, ...], where: str) -> None:
    height, width, channels = shape
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE and channels in (1, 3)):
        raise UserError(
            f"{where}: image size {'x'.join(map(str, shape))} (height x width x channels) must be "
            f"{MIN_SIDE} to {MAX_SIDE} pixels a side with 1 or 3 channels; resize the images"
        )


def _check_labels(labels: np.ndarray, images: np.ndarray, where: str) -> np.ndarray:
    """The distinct labels, sorted."""
    if labels.shape != (len(images),):
        raise UserError(f"{where} have shape {labels.shape}, must be one label per image: ({len(images)},)")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise UserError(f"{where} contain NaN or infinity; leave labels out if there are none")
    return np.unique(labels)


def _size(images: np.ndarray) -> str:
    """Of one image or several, as 28x28x1."""
    return "x".join(str(side) for side in images.shape[-3:])
