"""Structural similarity, with the Gaussian window as two banded matrix products."""

from functools import lru_cache

import torch
from torch import Tensor

from vae.errors import UsageError

SIGMA = 1.5
K1, K2 = 0.01, 0.03


def ssim(images: Tensor, targets: Tensor, *, window: int = 11, reflect: bool = False) -> Tensor:
    """Return the mean SSIM of each image (n,) against its target; 1 is identity, higher is better.

    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", with a
    Gaussian window of standard deviation 1.5. A separable filter is ``A @ x @ B`` for two banded matrices, at
    the speed of matrix products, forward and backward.

    Parameters
    ----------
    images, targets
        (n, C, H, W) in [0, 1]. Gradients flow to both.
    window
        Odd, at most the smaller side of the image.
    reflect
        Whether the images are padded with their mirror image, so that each pixel counts alike. If
        not, as in the paper, windows lie wholly within the image and a pixel of its frame hardly counts.
    """
    check_window(window, images.shape[-2], images.shape[-1])
    x, y = images.float(), targets.float()
    blurred = _blur(torch.stack((x, y, x * x, y * y, x * y)), window, reflect)
    mean_x, mean_y, square_x, square_y, product = blurred
    mean_xx, mean_yy, mean_xy = mean_x * mean_x, mean_y * mean_y, mean_x * mean_y
    c1, c2 = K1**2, K2**2
    contrast = (2 * (product - mean_xy) + c2) / (square_x - mean_xx + square_y - mean_yy + c2)
    luminance = (2 * mean_xy + c1) / (mean_xx + mean_yy + c1)
    return (luminance * contrast).flatten(1).mean(1)


def check_window(window: int, height: int, width: int) -> None:
    """Raise a UsageError if the window does not fit into the image."""
    if window > min(height, width):
        raise UsageError(
            f"ssim_window must be <= {min(height, width)}, the smaller side of the image, got {window}"
        )


def largest_window(height: int, width: int, limit: int = 11) -> int:
    """Return the largest odd window that fits into the image, at most ``limit``."""
    smaller = min(height, width, limit)
    return smaller if smaller % 2 else smaller - 1


def _blur(x: Tensor, window: int, reflect: bool) -> Tensor:
    rows = _band(x.shape[-2], window, reflect, x.device)
    columns = _band(x.shape[-1], window, reflect, x.device)
    return rows.T @ (x @ columns)


@lru_cache(maxsize=64)
def _band(side: int, window: int, reflect: bool, device: torch.device) -> Tensor:
    """Return the matrix whose column j holds the window at its j-th position.

    (side, side) if the image is reflected beyond its edges, else (side, side - window + 1).
    """
    half = window // 2
    offsets = torch.arange(-half, half + 1)
    gaussian = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    gaussian /= gaussian.sum()
    centres = torch.arange(side) if reflect else torch.arange(half, side - half)
    band = torch.zeros(side, len(centres))
    for column, centre in enumerate(centres):
        pixels = (centre + offsets).abs()  # -1 is the mirror image of 1, and `side` that of side - 2
        pixels = torch.minimum(pixels, 2 * (side - 1) - pixels)
        band[:, column].index_add_(0, pixels, gaussian)
    return band.to(device)
