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
from vae.models import NO_LABEL, VAE
from vae.training.augmentation import add_noise, apply_geometric

LABEL_KEEP_RATE = 0.5
"""Share of the labels that a conditional VAE is given while it trains (label dropout)."""


class Batch(NamedTuple):
    """The images of one step with all that was drawn for them."""

    images: Tensor
    """What is to be reconstructed (n, C, H, W), in [0, 1]."""
    seen: Tensor
    """What the encoder is given, with noise if there is any."""
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
    seen = images if pool is None else add_noise(images, pool, generator)
    labels = _drop_labels(data, index, generator) if model.n_classes else None
    noise = torch.randn(len(images), model.latent_dim, generator=generator, device=images.device)
    return Batch(images, seen, labels, noise)


def batch_loss(model: VAE, batch: Batch, config: Config, kl_weight: Tensor, balance: Balance) -> LossTerms:
    """Return the loss of a batch; ``kl_weight`` is a float32 scalar, ``balance`` is updated if it is used."""
    mixed = config.training.precision == "bfloat16"
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=mixed):
        posterior = model.encode(batch.seen, batch.labels)
        logits = model.decode(posterior.sample(batch.noise), batch.labels)
    return vae_loss(
        logits,
        batch.images,
        posterior,
        config.loss,
        kl_weight=kl_weight,
        balance=balance if config.loss.balance_losses else None,
        pixel_log_variance=model.pixel_log_variance,
    )


def _drop_labels(data: ImageSet, index: Tensor, generator: torch.Generator) -> Tensor:
    """Return the labels of a batch with some dropped (label dropout): embeddings are made without labels."""
    assert data.labels is not None
    labels = data.labels.index_select(0, index)
    kept = torch.rand(len(labels), generator=generator, device=labels.device) < LABEL_KEEP_RATE
    return labels.where(kept, NO_LABEL)
