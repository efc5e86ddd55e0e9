"""Moved images, which the encoder of a VAE is to see as it sees the unmoved ones."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vae.config import TrainingConfig
from vae.errors import UsageError
from vae.models import ImageShape

SHIFT = 1.0
"""Pixels in both directions, at a strength of 1, as all of these."""
SCALE = 0.05
"""Share of the size."""
ANGLE = 5.0
"""Degrees."""
BRIGHTNESS = 0.2
"""Share of the brightness."""
LARGEST_SHIFT = 1 / 4
"""Of the smaller side of an image."""


def move_images(images: Tensor, names: Sequence[str], strength: float, generator: torch.Generator) -> Tensor:
    """Return float images (n, C, H, W) in [0, 1], each moved in its own way, padded with black.

    Parameters
    ----------
    names
        ``flip`` mirrors half of them left to right; ``shift``, ``scale`` and ``rotate`` draw uniformly from
        `SHIFT`, `SCALE` and `ANGLE` times the strength in both directions; ``brightness`` multiplies by a
        factor of up to `BRIGHTNESS` times the strength more or less, and what is above 1 is cut off.
    """
    n, height, width = len(images), *images.shape[2:]

    def draw(limit: float) -> Tensor:
        uniform = torch.rand(n, generator=generator, device=images.device)
        return (2 * uniform - 1) * (limit * strength)

    none = images.new_zeros(n)
    angle = draw(ANGLE).deg2rad() if "rotate" in names else none
    size = 1 / (1 + draw(SCALE)) if "scale" in names else none + 1
    right, down = (draw(SHIFT) if "shift" in names else none for _ in range(2))
    mirror = none + 1
    if "flip" in names:
        mirror = torch.randint(2, (n,), generator=generator, device=images.device) * 2.0 - 1
    moved = images
    if set(names) - {"brightness"}:
        # Coordinates run from -1 to 1 along either side, so an oblong image needs its aspect.
        c, s, aspect = size * angle.cos(), size * angle.sin(), height / width
        across = (c * mirror, -s * aspect, 2 * right / width)
        along = (s * mirror / aspect, c, 2 * down / height)
        matrices = torch.stack((*across, *along), 1).view(n, 2, 3)
        grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
        moved = F.grid_sample(images, grid, align_corners=False)
    if "brightness" in names:
        moved = (moved * (1 + draw(BRIGHTNESS)).view(-1, 1, 1, 1)).clamp(max=1)
    return moved


def check_moves(training: TrainingConfig, image_shape: ImageShape) -> None:
    """Raise a UsageError if a config's moves push too much of such images out of the frame."""
    limit = min(image_shape[1:]) * LARGEST_SHIFT / SHIFT
    if "shift" in training.moved_by and training.move_strength > limit:
        raise UsageError(
            f"move_strength must be <= {limit:g} for images of {image_shape[1]}x{image_shape[2]}, a quarter "
            f"of the smaller side, got {training.move_strength:g}; lower it or leave out 'shift'"
        )
