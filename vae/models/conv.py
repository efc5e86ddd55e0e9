"""`conv`: strided 4×4 convolutions down to at most 7 pixels a side, channels doubling from 32 at width 1."""

from itertools import pairwise
from math import prod

from torch import nn

from vae.models.vae import ImageShape

FIRST_CHANNELS = 32
SMALLEST_SIDE = 7


def pyramid(image_shape: ImageShape, width: float) -> list[ImageShape]:
    """Return the shape of the image and of the feature map after each halving of its sides."""
    shapes = [image_shape]
    channels = max(1, round(FIRST_CHANNELS * width))
    while (
        max(shapes[-1][1:]) > SMALLEST_SIDE and min(shapes[-1][1:]) >= 4
    ):  # an oblong image may stop earlier
        _, height, width_px = shapes[-1]
        shapes.append((channels, height // 2, width_px // 2))
        channels *= 2
    return shapes


def down(shapes: list[ImageShape]) -> list[nn.Module]:
    """Return one strided convolution and ReLU per halving."""
    layers: list[nn.Module] = []
    for fine, coarse in pairwise(shapes):
        layers += [nn.Conv2d(fine[0], coarse[0], 4, stride=2, padding=1), nn.ReLU()]
    return layers


def up(shapes: list[ImageShape]) -> list[nn.Module]:
    """Return the mirror of `down`, with no activation after the last layer, which gives logits."""
    layers: list[nn.Module] = []
    for fine, coarse in reversed(list(pairwise(shapes))):
        # An odd side loses a pixel on the way down; output_padding gives it back.
        odd = (fine[1] % 2, fine[2] % 2)
        layers += [
            nn.ConvTranspose2d(coarse[0], fine[0], 4, stride=2, padding=1, output_padding=odd),
            nn.ReLU(),
        ]
    return layers[:-1]


def encoder(image_shape: ImageShape, latent_dim: int, width: float) -> nn.Module:
    shapes = pyramid(image_shape, width)
    return nn.Sequential(*down(shapes), nn.Flatten(), nn.Linear(prod(shapes[-1]), 2 * latent_dim))


def decoder(image_shape: ImageShape, latent_dim: int, width: float) -> nn.Module:
    shapes = pyramid(image_shape, width)
    return nn.Sequential(
        nn.Linear(latent_dim, prod(shapes[-1])), nn.ReLU(), nn.Unflatten(1, shapes[-1]), *up(shapes)
    )
