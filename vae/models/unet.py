"""`unet`: a U-Net in the encoder and another in the decoder; no skip leads past the latent space.

Ronneberger et al. 2015, arXiv:1505.04597, at the scales of `conv` below the image's own.
"""

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from vae.models.conv import down, pyramid, up
from vae.models.vae import ImageShape


class UNet(nn.Module):
    """Maps features (n, *shapes[0]) to features of the same shape, by way of all coarser scales and back."""

    def __init__(self, shapes: list[ImageShape]) -> None:
        super().__init__()
        steps = list(pairwise(shapes))
        self.down = nn.ModuleList(nn.Sequential(*down(list(step))) for step in steps)
        self.up = nn.ModuleList(nn.Sequential(*up(list(step)), nn.ReLU()) for step in reversed(steps))
        self.fuse = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * fine[0], fine[0], 3, padding=1), nn.ReLU())
            for fine, _ in reversed(steps)
        )
        self.alone = nn.Sequential(nn.Conv2d(shapes[0][0], shapes[0][0], 3, padding=1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for step in self.down:
            skips.append(x)
            x = step(x)
        for step, fuse in zip(self.up, self.fuse, strict=True):
            x = fuse(torch.cat((step(x), skips.pop()), dim=1))
        return self.alone(x)


def encoder(image_shape: ImageShape, latent_dim: int, width: float) -> nn.Module:
    shapes = pyramid(image_shape, width)
    return nn.Sequential(
        *down(shapes[:2]),
        UNet(shapes[1:]),
        *down(shapes[1:]),
        nn.Flatten(),
        nn.Linear(prod(shapes[-1]), 2 * latent_dim),
    )


def decoder(image_shape: ImageShape, latent_dim: int, width: float) -> nn.Module:
    shapes = pyramid(image_shape, width)
    to_finest = [*up(shapes[1:]), nn.ReLU()] if len(shapes) > 2 else []
    return nn.Sequential(
        nn.Linear(latent_dim, prod(shapes[-1])),
        nn.ReLU(),
        nn.Unflatten(1, shapes[-1]),
        *to_finest,
        UNet(shapes[1:]),
        *up(shapes[:2]),
    )
