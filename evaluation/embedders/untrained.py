"""The encoder of a VAE before it has learned anything: what its architecture alone is worth."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from evaluation.embedders.embedding import Embedding, EmbeddingKey, Images
from evaluation.embedders.method import Method, PlanRequest
from evaluation.embedders.vae import Vae, latent_means


@dataclass(frozen=True, slots=True)
class Untrained(Method):
    """Posterior means of ``vae`` with the weights that its training began with."""

    vae: Vae
    name = "untrained"
    title = "untrained VAE"
    description = "the best finalist's encoder before its training"
    colour = "#9aa0b8"
    default = True
    needs_vaes = True
    relative_cost = 2
    on_gpu = True

    @classmethod
    def plan(cls, request: PlanRequest) -> list[Self]:
        return [cls(vae) for vae in request.vaes[:1]]

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return (replace(self.vae.keys[0], method=self.name),)

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        # Not at the top of the file: torch takes seconds.
        from vae.checkpoint import read_config
        from vae.models import build_model

        with self.vae.checkpoint.on_disk() as directory:
            saved = read_config(directory)
        config = saved.config
        model = build_model(
            config.model, saved.image_shape, seed=config.training.seed, n_classes=saved.n_classes
        ).to(device)
        yield latent_means(self.keys[0], model, images, device)
