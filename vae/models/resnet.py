"""`resnet`: the strided convolutions of `conv` with residual blocks at the coarsest scale, as in VQ-VAE."""

from math import prod

from torch import Tensor, nn

from vae.models.conv import down, pyramid, up
from vae.models.vae import ImageShape

BLOCKS = 2


class ResidualBlock(nn.Module):
    """x + a 1×1 of a 3×3 convolution with half the channels (van den Oord et al. 2017, arXiv:1711.00937)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 2)
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def encoder(image_shape: ImageShape, latent_dim: int, width: float) -> nn.Module:
    shapes = pyramid(image_shape, width)
    return nn.Sequential(
        *down(shapes)[:-1],  # each block begins with a ReLU of its own
        *(ResidualBlock(shapes[-1][0]) for _ in range(BLOCKS)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(prod(shapes[-1]), 2 * latent_dim),
    )


def decoder(image_shape: ImageShape, latent_dim: int, width: float) -> nn.Module:
    shapes = pyramid(image_shape, width)
    return nn.Sequential(
        nn.Linear(latent_dim, prod(shapes[-1])),
        nn.Unflatten(1, shapes[-1]),
        *(ResidualBlock(shapes[-1][0]) for _ in range(BLOCKS)),
        nn.ReLU(),
        *up(shapes),
    )
