"""The variational autoencoder that every architecture fills with an encoder and a decoder."""

from typing import NamedTuple

from torch import Tensor, nn

ImageShape = tuple[int, int, int]
"""Channels, height, width."""


class Posterior(NamedTuple):
    """The diagonal Gaussian q(z|x) of each image; both tensors are (n, latent_dim)."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Return mean + standard deviation * noise (the reparameterisation trick)."""
        return self.mean + (0.5 * self.log_variance).exp() * noise


class VAE(nn.Module):
    """A Gaussian encoder and a decoder to logits (Kingma & Welling 2014, arXiv:1312.6114).

    Parameters
    ----------
    encoder
        Maps images (n, C, H, W) in [0, 1] to (n, 2 * latent_dim): means, then log variances.
    decoder
        Maps latents (n, latent_dim) to logits (n, C, H, W); pixels are their sigmoid.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, image_shape: ImageShape, latent_dim: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.image_shape = image_shape
        self.latent_dim = latent_dim

    def encode(self, images: Tensor) -> Posterior:
        """Return the posterior of images (n, C, H, W) in [0, 1], in float32."""
        mean, log_variance = self.encoder(images).float().chunk(2, dim=1)
        # Beyond these bounds exp() only makes infinities out of one bad step.
        return Posterior(mean, log_variance.clamp(-20, 10))

    def decode(self, latents: Tensor) -> Tensor:
        """Return float32 logits (n, C, H, W) of latents (n, latent_dim)."""
        return self.decoder(latents).float().view(-1, *self.image_shape)


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
