"""The encoder of a VAE before it has learned anything: what its architecture alone is worth."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from evaluation.embedders.embedding import Embedding, EmbeddingKey, Images
from evaluation.embedders.vae import Vae, latent_means
from vae.checkpoint import read_config
from vae.models import build_model


@dataclass(frozen=True, slots=True)
class Untrained:
    """Posterior means of ``vae`` with the weights that its training began with."""

    vae: Vae
    relative_cost: ClassVar[int] = 2
    on_gpu: ClassVar[bool] = True

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        vae = self.vae
        return (EmbeddingKey("untrained", vae.latent_dim, vae.trial_id, vae.training_seed),)

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        saved = read_config(self.vae.checkpoint)
        config = saved.config
        model = build_model(
            config.model, saved.image_shape, seed=config.training.seed, n_classes=saved.n_classes
        ).to(device)
        yield latent_means(self.keys[0], model, images, device)
