"""One step of the training: first all that is random in it, then a loss that is a function of tensors alone.

The program nowhere looks at the value of a tensor, and what changes from step to step, the KL weight and the
optimiser's learning rate, are tensors. So a step can be captured once and replayed; the last one of an epoch,
which is shorter, as another.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vae.config import Config, TrainingConfig
from vae.data import ImageSet
from vae.inference import to_unit
from vae.losses.balance import Balance
from vae.losses.elbo import LossTerms, vae_loss
from vae.models import NO_LABEL, VAE, Posterior
from vae.training.augmentation import add_noise, apply_geometric
from vae.training.moves import move_images

LABEL_KEEP_RATE = 0.5
"""Share of the labels that a conditional VAE is given while it trains (label dropout)."""


class Batch(NamedTuple):
    """The images of one step with all that was drawn for them."""

    images: Tensor
    """What is to be reconstructed (n, C, H, W), in [0, 1]."""
    seen: Tensor
    """What the encoder is given, moved or with noise if there is any."""
    labels: Tensor | None
    """int64 (n,) of a conditional VAE."""
    noise: Tensor
    """Of the latents (n, latent_dim)."""


def draw_batch(
    data: ImageSet,
    index: Tensor,
    model: VAE,
    training: TrainingConfig,
    pool: Tensor | None,
    generator: torch.Generator,
) -> Batch:
    """Return the images of the rows ``index``; ``pool`` is that of the noise on pixels, if there is any."""
    images = to_unit(data.images.index_select(0, index))  # 4x as fast as images[index]
    images = apply_geometric(images, training.augmentations, generator)
    seen = images
    if training.moved_by:
        seen = move_images(images, training.moved_by, training.move_strength, generator)
    if pool is not None:
        seen = add_noise(seen, pool, generator)
    labels = _drop_labels(data, index, generator) if model.n_classes else None
    noise = torch.randn(len(images), model.latent_dim, generator=generator, device=images.device)
    return Batch(images, seen, labels, noise)


def batch_loss(model: VAE, batch: Batch, config: Config, kl_weight: Tensor, balance: Balance) -> LossTerms:
    """Return the loss of a batch; ``kl_weight`` is a float32 scalar, ``balance`` is updated if it is used."""
    mixed = config.training.precision == "bfloat16"
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=mixed):
        posterior, unmoved = _posteriors(model, batch, config.loss.consistency_weight > 0)
        logits = model.decode(posterior.sample(batch.noise), batch.labels)
    return vae_loss(
        logits,
        batch.images,
        posterior,
        config.loss,
        kl_weight=kl_weight,
        balance=balance if config.loss.balance_losses else None,
        pixel_log_variance=model.pixel_log_variance,
        unmoved=unmoved,
    )


def _posteriors(model: VAE, batch: Batch, both: bool) -> tuple[Posterior, Posterior | None]:
    """Return the posterior of what the encoder is given and, in the same pass, of the images themselves."""
    if not both:
        return model.encode(batch.seen, batch.labels), None
    labels = None if batch.labels is None else torch.cat((batch.labels, batch.labels))
    mean, log_variance = model.encode(torch.cat((batch.seen, batch.images)), labels)
    n = len(batch.images)
    return Posterior(mean[:n], log_variance[:n]), Posterior(mean[n:], log_variance[n:])


def _drop_labels(data: ImageSet, index: Tensor, generator: torch.Generator) -> Tensor:
    """Return the labels of a batch with some dropped (label dropout): embeddings are made without labels."""
    assert data.labels is not None
    labels = data.labels.index_select(0, index)
    kept = torch.rand(len(labels), generator=generator, device=labels.device) < LABEL_KEEP_RATE
    return labels.where(kept, NO_LABEL)
