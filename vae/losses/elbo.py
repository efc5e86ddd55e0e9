"""The reconstruction losses and the KL divergence, in nats per image so that their weights mean the same."""

from dataclasses import dataclass
from math import log, pi

from torch import Tensor
from torch.nn import functional as F

from vae.config import LossConfig
from vae.losses.balance import Balance
from vae.losses.ssim import ssim
from vae.models import Posterior

MIN_VARIANCE = 1e-6
"""Far below the 8-bit quantisation error; keeps a perfect reconstruction finite."""


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The parts of one batch's loss, each a scalar tensor averaged over the images."""

    total: Tensor
    reconstruction: Tensor
    kl: Tensor


def vae_loss(
    logits: Tensor,
    images: Tensor,
    posterior: Posterior,
    config: LossConfig,
    *,
    kl_weight: Tensor | None = None,
    balance: Balance | None = None,
    pixel_log_variance: Tensor | None = None,
    unmoved: Posterior | None = None,
) -> LossTerms:
    """Return the weighted loss of a batch and its parts.

    Parameters
    ----------
    logits, images
        (n, C, H, W); images in [0, 1].
    kl_weight
        A float32 scalar, in place of the config's: the warm-up changes it from step to step.
    balance
        Updated with these losses; scales the KL term.
    pixel_log_variance
        (C, H, W), for the loss mse: the learned variances instead of the most likely common one.
    unmoved
        Of the images themselves, where ``posterior`` is that of moved ones: the consistency term of Sinha &
        Dieng 2021, arXiv:2105.14859, holds them together.
    """
    if config.balance_losses:
        reconstruction = distortion(logits, images, config)
    elif pixel_log_variance is not None:
        reconstruction = gaussian_loss(logits, images, pixel_log_variance)
    elif config.reconstruction_loss == "ssim":
        reconstruction = ssim_loss(logits, images, window=config.ssim_window)
    else:
        reconstruction = {"bce": bce_loss, "mse": mse_loss}[config.reconstruction_loss](logits, images)
    per_dimension = kl_per_dimension(posterior)
    # Kingma et al. 2016, arXiv:1606.04934: what a dimension has for free, it has no reason to give up.
    kl_above_free_bits = (
        per_dimension.clamp_min(config.free_bits).sum() if config.free_bits else per_dimension.sum()
    )
    kl = per_dimension.sum()
    weight = config.kl_weight if kl_weight is None else kl_weight
    scale = 1.0 if balance is None else balance.update(reconstruction, kl, len(per_dimension))
    total = config.image_weight * reconstruction + weight * scale * kl_above_free_bits
    if unmoved is not None:
        total = total + config.consistency_weight * kl_between(posterior, unmoved)
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
    variance = F.mse_loss(logits.sigmoid(), images).clamp_min(MIN_VARIANCE)
    return 0.5 * images[0].numel() * (variance.log() + log(2 * pi) + 1)


def gaussian_loss(logits: Tensor, images: Tensor, pixel_log_variance: Tensor) -> Tensor:
    """Return the Gaussian negative log-likelihood under a variance for each pixel, mean over the images."""
    log_variance = pixel_log_variance.clamp_min(log(MIN_VARIANCE))
    error = (logits.sigmoid() - images).square()
    return 0.5 * (error / log_variance.exp() + log_variance + log(2 * pi)).sum() / len(images)


def distortion(logits: Tensor, images: Tensor, config: LossConfig) -> Tensor:
    """Return the reconstruction loss above that of perfect reconstructions, without a scale of its own.

    That of mse is the plain squared error, summed over the pixels and averaged over the images.
    """
    if config.reconstruction_loss == "ssim":
        return ssim_loss(logits, images, window=config.ssim_window)
    if config.reconstruction_loss == "mse":
        return F.mse_loss(logits.sigmoid(), images) * images[0].numel()
    entropy = F.binary_cross_entropy(images, images, reduction="sum") / len(images)
    return bce_loss(logits, images) - entropy


def ssim_loss(logits: Tensor, images: Tensor, *, window: int = 11) -> Tensor:
    """Return 1 - SSIM times the number of values in an image, averaged over the images.

    Without that factor the loss is of order 1 and the KL divergence, of order 10, switches the latents off.
    Without reflection the loss hardly sees the frame of an image, and what is there is lost.
    """
    similarity = ssim(logits.sigmoid(), images, window=window, reflect=True)
    return (1 - similarity).mean() * images[0].numel()


def kl_per_dimension(posterior: Posterior) -> Tensor:
    """Return KL(q(z|x) || N(0, 1)) of each dimension (latent_dim,) in nats, averaged over the images."""
    mean, log_variance = posterior
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).mean(0)


def kl_between(first: Posterior, second: Posterior) -> Tensor:
    """Return KL(first || second) in nats, summed over the dimensions and averaged over the images.

    Examples
    --------
    >>> import torch
    >>> narrow = Posterior(torch.zeros(1, 2), torch.zeros(1, 2))
    >>> moved = Posterior(torch.ones(1, 2), torch.zeros(1, 2))
    >>> kl_between(moved, narrow).item()
    1.0
    """
    log_ratio = first.log_variance - second.log_variance
    distance = (first.mean - second.mean).square() * (-second.log_variance).exp()
    return 0.5 * (distance + log_ratio.exp() - log_ratio - 1).sum(1).mean()
