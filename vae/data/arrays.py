"""Images as arrays, as a caller or a file has them: sizes, values and labels are checked here."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vae.data.resize import MAX_SIDE, MIN_SIDE, WAY_OUT, resize_images
from vae.data.splits import Sources
from vae.errors import UsageError


@dataclass(frozen=True, eq=False)
class ImageArrays:
    """Images uint8 (n, H, W, C) and labels int64 (n,) that index `class_names`, or None."""

    images: np.ndarray
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    test_images: np.ndarray | None
    """None when the source has no test part."""
    test_labels: np.ndarray | None
    groups: np.ndarray | None = None
    """int64 (n,): images of one group stay together; None if there are none."""
    test_groups: np.ndarray | None = None
    sources: Sources | None = None
    test_sources: Sources | None = None


def check_arrays(
    images: np.ndarray,
    labels: np.ndarray | None = None,
    test_images: np.ndarray | None = None,
    test_labels: np.ndarray | None = None,
    *,
    source: Path | None = None,
    part: str = "test",
    resize: int | None = None,
    groups: np.ndarray | None = None,
    test_groups: np.ndarray | None = None,
    names: tuple[str, str] = ("images", "test_images"),
) -> ImageArrays:
    """Return images of any accepted form as uint8, and their classes numbered.

    Parameters
    ----------
    images, test_images
        (n, H, W) or (n, H, W, C), whole numbers in 0..255 or floats in [0, 1].
    labels, test_labels
        Class of each image (n,), see `check_labels`.
    source
        The file that they are from, for error messages.
    part
        What the messages call the second part.
    resize
        Pixels a side to which images are resized, see `vae.data.resize`.
    groups, test_groups
        What each image belongs to (n,), numbers or names, see `vae.data.splits.ImageSet`.
    names
        What the two arrays of images are called, as their sources name them.

    Raises
    ------
    UsageError
        An array cannot be used, or the parts do not fit together.
    """
    holder, within = source or "the data", f" in {source}" if source else ""
    if labels is not None and (test_images is None) != (test_labels is None):
        raise UsageError(
            f"{holder} has labels, so it needs both of {part}_images and {part}_labels, or neither"
        )
    if labels is None and test_labels is not None:
        raise UsageError(f"{holder} has {part}_labels without labels; add labels or take {part}_labels away")
    images = to_uint8(images, f"images{within}", resize)
    if labels is not None:
        labels = check_labels(labels, len(images), f"labels{within}")
    if test_images is not None:
        test_images = to_uint8(test_images, f"{part}_images{within}", resize)
        if test_labels is not None:
            test_labels = check_labels(test_labels, len(test_images), f"{part}_labels{within}")
    arrays = with_classes(source, images, labels, test_images=test_images, test_labels=test_labels, part=part)
    n_test = 0 if test_images is None else len(test_images)
    found = number_groups(groups, test_groups, len(images), n_test, f"groups{within}")
    return replace(
        arrays,
        groups=found[0],
        test_groups=found[1],
        sources=Sources.of_rows(names[0], len(images)),
        test_sources=Sources.of_rows(names[1], n_test),
    )


def number_groups(
    groups: np.ndarray | None, test_groups: np.ndarray | None, n: int, n_test: int, where: str
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the groups of both parts as whole numbers (n,) and (n_test,); a name means the same in both.

    Raises
    ------
    UsageError
        There is not one for each image, or they are neither whole numbers nor names.
    """
    given = [
        np.empty(0) if part is None else check_labels(part, size, where, "group")
        for part, size in ((groups, n), (test_groups, n_test))
    ]
    kinds = {part.dtype.kind == "U" for part in given if len(part)}
    if len(kinds) > 1:
        raise UsageError(f"{where} are text and numbers; make all text or all numbers")
    present = [part for part in given if len(part)]
    if not present:
        return None, None
    numbers = np.unique(np.concatenate(present), return_inverse=True)[1].astype(np.int64)
    train, test = (None, numbers) if groups is None else (numbers[:n], numbers[n:])
    return train, None if test_groups is None else test


def with_classes(
    source: Path | None,
    images: np.ndarray,
    labels: np.ndarray | None,
    *,
    test_images: np.ndarray | None = None,
    test_labels: np.ndarray | None = None,
    label_names: tuple[str, ...] = (),
    part: str = "test",
) -> ImageArrays:
    """Check both parts against each other and number the classes.

    Parameters
    ----------
    source
        The file or folder that they are from, for error messages.
    images, test_images
        uint8 (n, H, W, C); None if there is no test part.
    labels, test_labels
        As `check_labels` returns them; None if there are none.
    label_names
        Name of the label i at place i; without names, a label is its own name.
    part
        What the messages call the second part.

    Raises
    ------
    UsageError
        The test part has images of another size, or a class that is not in the training part.
    """
    within = f" in {source}" if source else ""
    if test_images is not None and test_images.shape[1:] != images.shape[1:]:
        same_size = test_images.shape[1:3] == images.shape[1:3]
        raise UsageError(
            f"{part} images{within} are {size_text(test_images)}, training images are {size_text(images)}; "
            f"make all the same{'' if same_size else f': {WAY_OUT}'}"
        )
    if labels is None:
        return ImageArrays(images, None, (), test_images, None)
    values, index = np.unique(labels, return_inverse=True)
    test_index = None
    if test_labels is not None:
        if (test_labels.dtype.kind == "U") != (labels.dtype.kind == "U"):
            raise UsageError(
                f"{source or 'the data'} has text and numbers as labels; make all labels text or all numbers"
            )
        if len(extra := np.setdiff1d(test_labels, values)):
            raise UsageError(
                f"class {label_names[extra[0]] if label_names else extra[0]} is among the {part} labels"
                f"{within}, but not among the training labels; add training images or drop the class"
            )
        test_index = np.searchsorted(values, test_labels).astype(np.int64)
    names = tuple(label_names[value] if label_names else str(value) for value in values)
    return ImageArrays(images, index.astype(np.int64), names, test_images, test_index)


def to_uint8(
    images: np.ndarray, where: str, resize: int | None = None, *, is_first: bool = True
) -> np.ndarray:
    """Images uint8 (n, H, W, C) from whole numbers in 0..255 or floats in [0, 1], resized if asked for.

    Of images in chunks, those that follow the first may well have no value above 1.
    """
    if images.ndim not in (3, 4) or len(images) == 0:
        raise UsageError(f"{where} have shape {images.shape}, must be (n, H, W) or (n, H, W, C) with n >= 1")
    images = images[..., None] if images.ndim == 3 else images
    check_size(images.shape[1:], where, resize)
    if images.dtype.kind not in "iuf":
        raise UsageError(f"{where} are {images.dtype}, must be uint8, or floats in [0, 1]; convert them")
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        first = int(np.argwhere(~np.isfinite(images))[0][0])
        raise UsageError(f"{where} contain NaN or infinity, first in image {first}; clean them")
    highest = 1 if images.dtype.kind == "f" else 255
    if images.min() < 0 or images.max() > highest:
        kind = "floats must be in [0, 1]" if highest == 1 else "whole numbers must be in 0..255"
        raise UsageError(
            f"{where} have values from {images.min():g} to {images.max():g}, {kind}; rescale them"
        )
    if highest == 255 and is_first and images.max() == 1:
        raise UsageError(
            f"{where} are whole numbers up to 1, where 255 is white: all would be black; "
            "multiply them by 255 or make them floats"
        )
    as_bytes = (
        np.round(images * 255).astype(np.uint8) if highest == 1 else images.astype(np.uint8, copy=False)
    )
    return resize_images(as_bytes, resize)


def check_size(shape: tuple[int, ...], where: str, resize: int | None = None) -> None:
    """Raise a UsageError unless (H, W, C) is a size that the models take, or that can be resized to one."""
    height, width, channels = shape
    size = f"{where}: image size {'x'.join(map(str, shape))} (height x width x channels)"
    if channels not in (1, 3):
        raise UsageError(f"{size} must have 1 or 3 channels, grey or colour; convert the images")
    if resize is None and not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise UsageError(f"{size} must be {MIN_SIDE} to {MAX_SIDE} pixels a side; {WAY_OUT}")
    if min(height, width) < 1:
        raise UsageError(f"{size} has no pixels; leave such images out")


def check_labels(labels: np.ndarray, n_images: int, where: str, what: str = "label") -> np.ndarray:
    """Labels (n,) as whole numbers, truth values or text, from anything that means the same.

    ``what`` they are for each image, in messages: a group is written as a label is.
    """
    if labels.shape == (n_images, 1):  # as Keras and MedMNIST have them
        labels = labels[:, 0]
    if labels.shape != (n_images,):
        raise UsageError(f"{where} have shape {labels.shape}, must be one {what} per image: ({n_images},)")
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise UsageError(f"{where} contain NaN or infinity; leave {what}s out if there are none")
        if (odd := labels[labels != np.floor(labels)]).size:
            raise UsageError(f"{where} must be classes, whole numbers or names, got {odd[0]:g}")
        return labels.astype(np.int64)
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8", "replace")
    if labels.dtype.kind not in "biuU":
        raise UsageError(f"{where} are {labels.dtype}, must be whole numbers or names; convert them")
    return labels


def size_text(images: np.ndarray) -> str:
    """Size of one image or of each of several, as 28x28x1."""
    return "x".join(str(side) for side in images.shape[-3:])
