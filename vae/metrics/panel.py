"""The neutral panel: numbers that mean the same for every loss, architecture and latent size."""

from math import log10

import torch
from torch import Tensor

from vae.config import LossConfig
from vae.inference import BATCH_SIZE, to_unit
from vae.losses.elbo import kl_per_dimension, vae_loss
from vae.losses.ssim import largest_window, ssim
from vae.metrics.unlabelled import UnlabelledScores
from vae.models import VAE

ACTIVE_VARIANCE = 0.01


def evaluate_panel(
    model: VAE,
    images: Tensor,
    loss: LossConfig,
    *,
    unlabelled: UnlabelledScores | None = None,
    batch_size: int = BATCH_SIZE,
) -> dict[str, float]:
    """Return the neutral panel of a model, see `panel_and_means`."""
    return panel_and_means(model, images, loss, unlabelled=unlabelled, batch_size=batch_size)[0]


@torch.no_grad()
def panel_and_means(
    model: VAE,
    images: Tensor,
    loss: LossConfig,
    *,
    unlabelled: UnlabelledScores | None = None,
    batch_size: int = BATCH_SIZE,
) -> tuple[dict[str, float], Tensor]:
    """Return the neutral panel of a model on uint8 images (n, C, H, W), and their posterior means.

    All but the losses come from the posterior mean, with nothing sampled, so the panel is deterministic.

    Returns
    -------
    dict
        ``val_ssim`` (window 11, or the largest odd one that fits; higher is better), ``val_mse`` (pixels in
        [0, 1]), ``val_psnr`` (dB, higher is better), ``val_kl`` (nats per image), ``active_units``
        (dimensions whose posterior mean has a variance above 0.01 over the images; Burda et al. 2016,
        arXiv:1509.00519), and the trial's own ``val_loss`` and ``val_reconstruction_loss`` (nats per image),
        which are not comparable between losses. With ``unlabelled``, of the same images, also its scores.
    """
    window = largest_window(*model.image_shape[1:])
    device, n = images.device, len(images)
    sums = torch.zeros(5, device=device, dtype=torch.float64)
    means = []
    for batch in images.split(batch_size):
        x = to_unit(batch)
        posterior = model.encode(x)
        logits = model.decode(posterior.mean)
        pixels = logits.sigmoid()
        terms = vae_loss(logits, x, posterior, loss, pixel_log_variance=model.pixel_log_variance)
        sums += len(x) * torch.stack(
            (
                ssim(pixels, x, window=window).mean(),
                (pixels - x).square().mean(),
                kl_per_dimension(posterior).sum(),
                terms.total,
                terms.reconstruction,
            )
        )
        means.append(posterior.mean)
    posterior_means = torch.cat(means)
    # One copy from the device, as each of them waits for it.
    numbers = torch.cat((sums / n, active_units(posterior_means).view(1)))
    val_ssim, val_mse, val_kl, val_loss, val_reconstruction_loss, n_active = numbers.tolist()
    panel = {
        "val_loss": val_loss,
        "val_reconstruction_loss": val_reconstruction_loss,
        "val_ssim": val_ssim,
        "val_mse": val_mse,
        "val_psnr": -10 * log10(max(val_mse, 1e-10)) if val_mse == val_mse else val_mse,
        "val_kl": val_kl,
        "active_units": n_active,
        **(unlabelled(posterior_means) if unlabelled else {}),
    }
    return panel, posterior_means


def active_units(posterior_means: Tensor) -> Tensor:
    """Return how many columns of (n, latent_dim) posterior means have a variance above 0.01, a scalar."""
    return (posterior_means.var(0) > ACTIVE_VARIANCE).sum()
