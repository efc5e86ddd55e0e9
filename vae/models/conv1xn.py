"""`conv1xn`: the strided convolutions of `conv`, each factorised into a 1×4 and a 4×1 kernel.

Half the sides are halved by either one, with fewer weights than a 4×4 kernel has (as in Inception,
Szegedy et al. 2016, arXiv:1512.00567).
"""

from itertools import pairwise
from math import prod

from torch import nn

from vae.models.conv import pyramid
from vae.models.vae import ImageShape

# Kernel size, stride and padding.
ROW = (1, 4), (1, 2), (0, 1)
COLUMN = (4, 1), (2, 1), (1, 0)


def encoder(image_shape: ImageShape, latent_dim: int, width: float) -> nn.Module:
    shapes = pyramid(image_shape, width)
    layers: list[nn.Module] = []
    for fine, coarse in pairwise(shapes):
        layers += [nn.Conv2d(fine[0], coarse[0], *ROW), nn.ReLU()]
        layers += [nn.Conv2d(coarse[0], coarse[0], *COLUMN), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(prod(shapes[-1]), 2 * latent_dim))


def decoder(image_shape: ImageShape, latent_dim: int, width: float) -> nn.Module:
    shapes = pyramid(image_shape, width)
    layers: list[nn.Module] = []
    for fine, coarse in reversed(list(pairwise(shapes))):
        # An odd side loses a pixel on the way down; output_padding gives it back.
        odd = (fine[1] % 2, fine[2] % 2)
        layers += [nn.ConvTranspose2d(coarse[0], coarse[0], *COLUMN, (odd[0], 0)), nn.ReLU()]
        layers += [nn.ConvTranspose2d(coarse[0], fine[0], *ROW, (0, odd[1])), nn.ReLU()]
    return nn.Sequential(
        nn.Linear(latent_dim, prod(shapes[-1])), nn.ReLU(), nn.Unflatten(1, shapes[-1]), *layers[:-1]
    )
