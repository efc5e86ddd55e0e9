"""The reconstruction losses and the KL divergence, in nats per image so that their weights mean the same."""

from dataclasses import dataclass
from math import log, pi

from torch import Tensor
from torch.nn import functional as F

from vae.config import LossConfig
from vae.models import Posterior
from vae.ssim import ssim


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The parts of one batch's loss, each a scalar tensor averaged over the images."""

    total: Tensor
    reconstruction: Tensor
    kl: Tensor


def vae_loss(
    logits: Tensor, images: Tensor, posterior: Posterior, config: LossConfig, *, kl_factor: float = 1.0
) -> LossTerms:
    """Return the weighted loss of a batch and its parts.

    Parameters
    ----------
    logits, images
        (n, C, H, W); images in [0, 1].
    kl_factor
        The warm-up's factor on the KL weight, 0 to 1.
    """
    if config.reconstruction_loss == "ssim":
        reconstruction = ssim_loss(logits, images, window=config.ssim_window)
    else:
        reconstruction = {"bce": bce_loss, "mse": mse_loss}[config.reconstruction_loss](logits, images)
    kl = kl_per_dimension(posterior).sum()
    total = config.image_weight * reconstruction + kl_factor * config.kl_weight * kl
    return LossTerms(total, reconstruction, kl)


def bce_loss(logits: Tensor, images: Tensor) -> Tensor:
    """Return the Bernoulli negative log-likelihood, summed over the pixels and averaged over the images."""
    return F.binary_cross_entropy_with_logits(logits, images, reduction="sum") / len(images)


def mse_loss(logits: Tensor, images: Tensor) -> Tensor:
    """Return the Gaussian negative log-likelihood under its optimal variance, averaged over the images.

    The plain squared error has no natural scale against the KL divergence. With the variance at its most
    likely value, the mean squared error of the batch, it has one (sigma-VAE, Rybkin et al. 2021,
    arXiv:2006.13202).
    """
    # A floor far below the 8-bit quantisation error keeps a perfect reconstruction finite.
    variance = F.mse_loss(logits.sigmoid(), images).clamp_min(1e-6)
    return 0.5 * images[0].numel() * (variance.log() + log(2 * pi) + 1)


def ssim_loss(logits: Tensor, images: Tensor, *, window: int = 11) -> Tensor:
    """Return 1 - SSIM times the number of values in an image, averaged over the images.

    Without that factor the loss is of order 1 and the KL divergence, of order 10, switches the latents off.
    """
    return (1 - ssim(logits.sigmoid(), images, window=window)).mean() * images[0].numel()


def kl_per_dimension(posterior: Posterior) -> Tensor:
    """Return KL(q(z|x) || N(0, 1)) of each dimension (latent_dim,) in nats, averaged over the images."""
    mean, log_variance = posterior
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).mean(0)
