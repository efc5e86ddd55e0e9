"""`fc`: one hidden layer on each side, 400 units at width 1 (Kingma & Welling 2014)."""

from math import prod

from torch import nn

from vae.models.vae import ImageShape

HIDDEN_UNITS = 400


def encoder(image_shape: ImageShape, latent_dim: int, width: float) -> nn.Module:
    hidden = max(1, round(HIDDEN_UNITS * width))
    return nn.Sequential(
        nn.Flatten(), nn.Linear(prod(image_shape), hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent_dim)
    )


def decoder(image_shape: ImageShape, latent_dim: int, width: float) -> nn.Module:
    hidden = max(1, round(HIDDEN_UNITS * width))
    return nn.Sequential(
        nn.Linear(latent_dim, hidden),
        nn.ReLU(),
        nn.Linear(hidden, prod(image_shape)),
    )
