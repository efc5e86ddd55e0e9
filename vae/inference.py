"""From images to latents and back, in batches, without gradients."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vae.models import VAE

BATCH_SIZE = 2048


def to_unit(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1]."""
    return images.float().div_(255)


@torch.no_grad()
def embed(model: VAE, images: Tensor, *, batch_size: int = BATCH_SIZE) -> Tensor:
    """Return the posterior means (n, latent_dim), float32, of uint8 images (n, C, H, W), on their device."""
    return torch.cat([model.encode(to_unit(batch)).mean for batch in images.split(batch_size)])


@torch.no_grad()
def decode(model: VAE, latents: Tensor, *, batch_size: int = BATCH_SIZE) -> Tensor:
    """Return the images (n, C, H, W), float32 in [0, 1], of latents (n, latent_dim)."""
    return torch.cat([model.decode(batch).sigmoid() for batch in latents.split(batch_size)])


def reconstruct(model: VAE, images: Tensor, *, batch_size: int = BATCH_SIZE) -> Tensor:
    """Return the decoded posterior means (n, C, H, W), float32 in [0, 1], of uint8 images (n, C, H, W)."""
    return decode(model, embed(model, images, batch_size=batch_size), batch_size=batch_size)


@dataclass(frozen=True, slots=True)
class MeasuredEmbedding:
    """An embedding and how well the images can be seen in it."""

    latents: Tensor
    """Posterior means (n, latent_dim), float32."""
    reconstruction_mse: Tensor
    """(n,), float32: mean squared error of the pixels, which are in [0, 1], of each decoded mean."""


@torch.no_grad()
def embed_and_measure(model: VAE, images: Tensor, *, batch_size: int = BATCH_SIZE) -> MeasuredEmbedding:
    """Return the embedding of uint8 images (n, C, H, W) and what is lost in it, on their device."""
    latents, errors = [], []
    for batch in images.split(batch_size):
        pixels = to_unit(batch)
        means = model.encode(pixels).mean
        latents.append(means)
        errors.append((model.decode(means).sigmoid() - pixels).square().flatten(1).mean(1))
    return MeasuredEmbedding(torch.cat(latents), torch.cat(errors))
