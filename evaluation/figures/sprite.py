"""Many small images as one, the way that pages and TensorBoard's projector take them."""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def sprite_columns(n: int) -> int:
    """Return how many of ``n`` images stand side by side: about as many as stand below each other."""
    return math.ceil(math.sqrt(n))


def sprite(images: NDArray[np.uint8], file_format: str) -> bytes:
    """Return all images (n, C, H, W) as one, row by row, in Pillow's ``file_format``."""
    n, channels, height, width = images.shape
    columns = sprite_columns(n)
    rows = math.ceil(n / columns)
    tiles = np.zeros((rows * columns, channels, height, width), dtype=np.uint8)
    tiles[:n] = images
    sheet = tiles.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    file = io.BytesIO()
    picture(sheet.reshape(rows * height, columns * width, channels)).save(file, file_format, quality=82)
    return file.getvalue()


def picture(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return an image (H, W, C); of two channels, which no picture has, the first alone."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] < 3 else pixels)
