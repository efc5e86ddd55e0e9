"""Posterior means of one VAE."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.embedders.checkpoint import Checkpoint
from evaluation.embedders.embedding import Embedding, EmbeddingKey, Images
from evaluation.embedders.method import Method, PlanRequest
from vae.errors import UsageError

if TYPE_CHECKING:
    from vae.models import VAE


@dataclass(frozen=True, slots=True)
class Vae(Method):
    """Posterior means of a trained VAE, from its checkpoint alone; a conditional one is given no label."""

    trial_id: str
    checkpoint: Checkpoint
    latent_dim: int
    training_seed: int | None = None
    conditional: bool = False
    name = "vae"
    title = "VAE"
    description = "posterior means of the finalists"
    colour = "#4f46e5"
    default = True
    needs_vaes = True
    is_baseline = False
    relative_cost = 2
    on_gpu = True

    @classmethod
    def plan(cls, request: PlanRequest) -> list["Vae"]:
        return [*request.vaes, *request.replicas]

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return (EmbeddingKey(self.name, self.latent_dim, self.trial_id, self.training_seed),)

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        # Not at the top of the file: torch takes seconds.
        from vae.checkpoint import load_model

        with self.checkpoint.on_disk() as directory:
            loaded = load_model(directory, device)
        if loaded.image_shape != images.train.shape[1:]:
            raise UsageError(
                f"the checkpoint {self.checkpoint.directory} takes images of shape {loaded.image_shape} "
                f"(C, H, W), the dataset has {images.train.shape[1:]}"
            )
        yield latent_means(self.keys[0], loaded.model, images, device)


def latent_means(key: EmbeddingKey, model: "VAE", images: Images, device: str) -> Embedding:
    """Return the posterior means of both splits; the model lies on that device."""
    import torch

    from vae.inference import embed

    train, test = (
        embed(model, torch.tensor(part).to(device)).cpu().numpy() for part in (images.train, images.test)
    )
    return Embedding(key, train, test)
