"""Posterior means of one VAE."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from evaluation.embedders.embedding import Embedding, EmbeddingKey, Images
from vae.checkpoint import CONFIG_FILE, MODEL_FILE, load_model
from vae.errors import UserError
from vae.inference import embed
from vae.models import VAE


@dataclass(frozen=True, slots=True)
class Vae:
    """Posterior means of a trained VAE, from its checkpoint alone; a conditional one is told no label.

    Pickled, it carries its checkpoint along: a task may run on a node that does not see the file.
    """

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

    def __reduce__(self) -> tuple[Any, ...]:
        files = {
            name: (self.checkpoint / name).read_bytes()
            for name in (CONFIG_FILE, MODEL_FILE)
            if (self.checkpoint / name).is_file()
        }
        return _unpickled, ([getattr(self, field.name) for field in fields(self)], files)

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        loaded = load_model(self.checkpoint, device)
        if loaded.image_shape != images.train.shape[1:]:
            raise UserError(
                f"the checkpoint {self.checkpoint} takes images of shape {loaded.image_shape} (C, H, W), "
                f"the dataset has {images.train.shape[1:]}"
            )
        yield latent_means(self.keys[0], loaded.model, images, device)


def _unpickled(values: list[Any], files: dict[str, bytes]) -> Vae:
    vae = Vae(*values)
    if vae.checkpoint.is_dir():
        return vae
    digest = hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()[:24]
    directory = Path(tempfile.gettempdir(), f"vae-checkpoint-{digest}")
    if not directory.is_dir():  # not left here by another task
        new = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        for name, content in files.items():
            (new / name).write_bytes(content)
        try:
            new.rename(directory)
        except OSError:  # another was faster
            shutil.rmtree(new)
    return replace(vae, checkpoint=directory)


def latent_means(key: EmbeddingKey, model: VAE, images: Images, device: str) -> Embedding:
    """Return the posterior means of both splits; the model lies on that device."""
    train, test = (
        embed(model, torch.tensor(part).to(device)).cpu().numpy() for part in (images.train, images.test)
    )
    return Embedding(key, train, test)
