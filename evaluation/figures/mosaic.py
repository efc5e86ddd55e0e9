"""Many pictures as one image: decoded, arranged in rows and columns, and shown without a frame."""

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray

from vae.inference import decode
from vae.models import VAE

Pictures = NDArray[np.float32]
"""In [0, 1], grey (n, H, W) or in colour (n, H, W, 3)."""

_SMALLEST = 32  # pixels of a side, below which each is drawn as several: thin gaps need fine pixels
_GAP = 0.03  # of a side, all around each picture


def decode_pictures(model: VAE, latents: NDArray[np.float32]) -> Pictures:
    """Return the pictures that a model makes of latents (n, latent_dim)."""
    return displayable(decode(model, torch.tensor(latents, dtype=torch.float32)))


def displayable(images: torch.Tensor) -> Pictures:
    """Return images (n, C, H, W) as pictures."""
    pictures: Pictures = images.clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
    return pictures[..., 0] if pictures.shape[-1] == 1 else pictures


def show_mosaic(axes: Axes, pictures: Pictures, n_columns: int) -> None:
    """Draw pictures row by row; the middle of each has its column and row, from 0, as coordinates.

    There is a multiple of ``n_columns`` of them. The axes lose their ticks, grid and frame.
    """
    n, height, width = pictures.shape[:3]
    n_rows = n // n_columns
    fine = max(1, -(-_SMALLEST // min(height, width)))
    gap = max(1, round(_GAP * fine * min(height, width)))
    tiles = pictures.repeat(fine, axis=1).repeat(fine, axis=2)
    margins = ((0, 0), (gap, gap), (gap, gap)) + ((0, 0),) * (tiles.ndim - 3)
    tiles = np.pad(tiles, margins, constant_values=1)
    rows = tiles.reshape(n_rows, n_columns, *tiles.shape[1:])
    whole = rows.swapaxes(1, 2).reshape(n_rows * tiles.shape[1], n_columns * tiles.shape[2], *tiles.shape[3:])
    axes.imshow(
        whole,
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(-0.5, n_columns - 0.5, n_rows - 0.5, -0.5),
        aspect=tiles.shape[1] / tiles.shape[2],
    )
    axes.set(xticks=[], yticks=[])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
