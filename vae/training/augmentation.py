"""Augmentation on the device, for a whole batch at once: other images of the same class and shape."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import radians

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_SHIFT = 1
"""Pixels, in both directions."""
MAX_ANGLE = 10
"""Degrees, in both directions, in steps of one."""
NOISE = 0.1
"""Standard deviation of the noise on pixels in [0, 1]."""
NOISE_POOL = 2**20
"""Numbers drawn for the noise of one epoch: to draw each pixel's own would cost as much as a layer."""


def apply_geometric(images: Tensor, names: Sequence[str], generator: torch.Generator) -> Tensor:
    """Return float images (n, C, H, W) flipped, shifted and rotated as ``names`` say, padded with black.

    ``flip`` mirrors half of them left to right, ``shift`` moves by up to `MAX_SHIFT` pixels, ``rotate`` turns
    by up to `MAX_ANGLE` degrees. Each image draws its own; pixels are interpolated once, bilinearly.
    """
    if not {"flip", "shift", "rotate"} & set(names):
        return images
    grids = _grids(*images.shape[2:], "flip" in names, "shift" in names, "rotate" in names, images.device)
    drawn = torch.randint(len(grids), (len(images),), generator=generator, device=images.device)
    return F.grid_sample(images, grids.index_select(0, drawn), align_corners=False)


def noise_pool(generator: torch.Generator) -> Tensor:
    """Return the Gaussian noise (`NOISE_POOL`,) of one epoch, on the generator's device."""
    return torch.empty(NOISE_POOL, device=generator.device).normal_(0, NOISE, generator=generator)


def add_noise(images: Tensor, pool: Tensor, generator: torch.Generator) -> Tensor:
    """Return images (n, C, H, W) in [0, 1] with noise, still in [0, 1]: the input of a denoising VAE.

    The noise of an image begins at a random place of the pool. Im et al. 2017, arXiv:1511.06406.
    """
    size = images[0].numel()
    places = len(pool) - size + 1
    first = torch.randint(places, (len(images),), generator=generator, device=images.device)
    noise = pool.as_strided((places, size), (1, 1)).index_select(0, first)
    return noise.view_as(images).add_(images).clamp_(0, 1)


@lru_cache(maxsize=16)
def _grids(height: int, width: int, flip: bool, shift: bool, rotate: bool, device: torch.device) -> Tensor:
    """Return the sampling grids (n, H, W, 2) for `grid_sample` of all combinations."""
    angles = range(-MAX_ANGLE, MAX_ANGLE + 1) if rotate else [0]
    steps = range(-MAX_SHIFT, MAX_SHIFT + 1) if shift else [0]
    matrices = []
    for angle, down, right, mirror in product(angles, steps, steps, (1, -1) if flip else (1,)):
        turn = torch.tensor(radians(angle))
        c, s = turn.cos(), turn.sin()
        # Coordinates run from -1 to 1 along either side, so an oblong image needs its aspect.
        rows = [c * mirror, -s * height / width, 2 * right / width, s * mirror * width / height, c]
        matrices.append(torch.stack([torch.as_tensor(v) for v in (*rows, 2 * down / height)]).view(2, 3))
    shape = [len(matrices), 1, height, width]
    return F.affine_grid(torch.stack(matrices), shape, align_corners=False).to(device)
