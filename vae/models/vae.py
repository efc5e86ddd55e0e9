"""The variational autoencoder that every architecture fills with an encoder and a decoder."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ImageShape = tuple[int, int, int]
"""Channels, height, width."""
NO_LABEL = -1
"""Stands for a label that is not given."""
INITIAL_LOG_VARIANCE = -3.0
"""Of a pixel with learned variance: about the mean squared error after the first epoch."""


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
        Maps images (n, C, H, W) in [0, 1] to (n, 2 * latent_dim): means, then log variances. That of a
        conditional VAE takes images with one more channel, which is the label's.
    decoder
        Maps latents (n, latent_dim) to logits (n, C, H, W); pixels are their sigmoid. That of a conditional
        VAE takes n_classes more values, the label as one of them.
    n_classes
        Of a conditional VAE (Sohn et al. 2015); 0 for all others.
    spherical
        Whether the means lie on the sphere of radius sqrt(latent_dim), where the prior has nearly all of its
        mass in many dimensions (as in Zhao et al. 2019, arXiv:1912.10233, but with a posterior).
    learned_variance
        Whether ``pixel_log_variance`` (C, H, W), the Gaussian noise of each pixel, is a parameter; otherwise
        it is None.
    """

    pixel_log_variance: Tensor | None

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        image_shape: ImageShape,
        latent_dim: int,
        *,
        n_classes: int = 0,
        spherical: bool = False,
        learned_variance: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.image_shape = image_shape
        self.latent_dim = latent_dim
        self.n_classes = n_classes
        self.spherical = spherical
        if n_classes:
            self.label_plane = nn.Embedding(n_classes, image_shape[1] * image_shape[2])
        variance = nn.Parameter(torch.full(image_shape, INITIAL_LOG_VARIANCE)) if learned_variance else None
        self.register_parameter("pixel_log_variance", variance)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Posterior:
        """Return the posterior of images (n, C, H, W) in [0, 1], in float32.

        ``labels``, int64 (n,), count in a conditional VAE only; `NO_LABEL`, or None, is a missing label.
        """
        if self.n_classes:
            one_hot = self._one_hot(labels, images)
            plane = (one_hot @ self.label_plane.weight).view(-1, 1, *self.image_shape[1:])
            images = torch.cat((images, plane), dim=1)
        mean, log_variance = self.encoder(images).float().chunk(2, dim=1)
        if self.spherical:
            mean = F.normalize(mean, dim=1) * self.latent_dim**0.5
        # Beyond these bounds exp() only makes infinities out of one bad step.
        return Posterior(mean, log_variance.clamp(-20, 10))

    def decode(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return float32 logits (n, C, H, W) of latents (n, latent_dim); ``labels`` as for `encode`."""
        if self.n_classes:
            latents = torch.cat((latents, self._one_hot(labels, latents)), dim=1)
        return self.decoder(latents).float().view(-1, *self.image_shape)

    def _one_hot(self, labels: Tensor | None, like: Tensor) -> Tensor:
        """Return (n, n_classes): all zeros where no label is given."""
        if labels is None:
            return like.new_zeros(len(like), self.n_classes)
        return F.one_hot(labels + 1, self.n_classes + 1)[:, 1:].to(like.dtype)


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
