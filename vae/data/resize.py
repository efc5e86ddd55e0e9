"""Images of any size as small squares: the shorter side is scaled to N pixels, and the middle cut out."""

from numbers import Integral
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from vae.errors import UsageError

MIN_SIDE, MAX_SIDE = 8, 64
"""Pixels a side that the models take."""

WAY_OUT = "search or train with --resize 32 (in Python resize=32)"


def check_resize(side: Any) -> None:
    """Raise a UsageError unless images can be resized to so many pixels; None means that they are not."""
    whole = isinstance(side, Integral) and not isinstance(side, bool)
    if side is not None and not (whole and MIN_SIDE <= side <= MAX_SIDE):
        raise UsageError(f"resize must be a whole number from {MIN_SIDE} to {MAX_SIDE}, got {side!r}")


def resize_image(image: Image.Image, side: int) -> Image.Image:
    """Return the middle of an image as a square; shrinking averages all pixels (bicubic, antialiased).

    Examples
    --------
    >>> resize_image(Image.new("L", (640, 480)), 32).size
    (32, 32)
    """
    return ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)


def resize_images(images: np.ndarray, side: int | None) -> np.ndarray:
    """Return each of the images uint8 (n, H, W, C) as `resize_image` does; None leaves them alone."""
    if side is None or images.shape[1:3] == (side, side):
        return images
    squeezed = images[..., 0] if images.shape[3] == 1 else images
    small = [np.asarray(resize_image(Image.fromarray(image), side)) for image in squeezed]
    return np.stack(small).reshape(len(images), side, side, images.shape[3])
