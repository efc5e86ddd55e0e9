"""Posterior means of one VAE."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from evaluation.embedders.embedding import Embedding, EmbeddingKey, Images
from vae.checkpoint import load_model
from vae.errors import UsageError
from vae.inference import embed
from vae.models import VAE


@dataclass(frozen=True, slots=True)
class Vae:
    """Posterior means of a trained VAE, from its checkpoint alone; a conditional one is told no label."""

    trial_id: str
    checkpoint: Path
    latent_dim: int
    training_seed: int | None = None
    conditional: bool = False
    relative_cost: ClassVar[int] = 2
    on_gpu: ClassVar[bool] = True

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return (EmbeddingKey("vae", self.latent_dim, self.trial_id, self.training_seed),)

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        loaded = load_model(self.checkpoint, device)
        if loaded.image_shape != images.train.shape[1:]:
            raise UsageError(
                f"the checkpoint {self.checkpoint} takes images of shape {loaded.image_shape} (C, H, W), "
                f"the dataset has {images.train.shape[1:]}"
            )
        yield latent_means(self.keys[0], loaded.model, images, device)


def latent_means(key: EmbeddingKey, model: VAE, images: Images, device: str) -> Embedding:
    """Return the posterior means of both splits; the model lies on that device."""
    train, test = (
        embed(model, torch.tensor(part).to(device)).cpu().numpy() for part in (images.train, images.test)
    )
    return Embedding(key, train, test)
