"""Several VAEs as one embedding: their posterior means side by side."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from evaluation.embedders.embedding import Embedding, EmbeddingKey, Images
from evaluation.embedders.method import Method, PlanRequest
from evaluation.embedders.vae import Vae
from vae.errors import UsageError

_SEPARATOR = "+"
_LONGEST_ID = 150
"""Bytes; the id is in the name of a folder, which file systems limit to 255."""


@dataclass(frozen=True, slots=True)
class Ensemble(Method):
    """Concatenated posterior means of several VAEs, each divided by one number of its own.

    That number is the root-mean-square distance between two training images in the member's latent space,
    √(2 · Σ variance of each dimension). So every member adds 1 to the mean squared distance of the whole,
    whatever its number of dimensions, loss and KL weight, and none dominates the neighbours. One number per
    member, not one per dimension, as it leaves the distances within a member in proportion: dimensions that a
    VAE does not use stay small and are not blown up to noise.
    """

    members: tuple[Vae, ...]
    """The original trials of the finalists."""
    name = "ensemble"
    title = "ensemble"
    description = "posterior means of two or more finalists, scaled and side by side"
    colour = "#c0359a"
    default = True
    needs_vaes = True
    relative_cost = 2
    on_gpu = True

    def __post_init__(self) -> None:
        assert len(self.members) > 1, "an ensemble needs at least 2 VAEs"

    @classmethod
    def plan(cls, request: PlanRequest) -> list[Self]:
        if len(request.vaes) > 1:
            return [cls(request.vaes)]
        if not request.explicit:
            return []
        raise UsageError(
            f"an ensemble needs at least 2 VAEs, got {len(request.vaes)}; evaluate more, or leave it out of "
            "--methods"
        )

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        dim = sum(member.latent_dim for member in self.members)
        return (EmbeddingKey(self.name, dim, ensemble_id([member.trial_id for member in self.members])),)

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        trains, tests = [], []
        for member in self.members:
            latents = next(member.embeddings(images, device))
            scale = np.float32(np.sqrt(2 * latents.train.var(axis=0, dtype=np.float64).sum()))
            scale = scale or np.float32(1)  # of a collapsed member, which tells no images apart
            trains.append(latents.train / scale)
            tests.append(latents.test / scale)
        yield Embedding(self.keys[0], np.hstack(trains), np.hstack(tests))


def ensemble_id(trial_ids: Sequence[str]) -> str:
    """Return what stands for several trials: their ids joined by ``+``.

    Where that is too long for the name of a folder, the first of them, how many more there are, and the
    beginning of the hash of all: ``0003-conv-10d+0007-fc-64d+9-more-1a2b3c4d``.
    """
    names = [trial_id.replace(_SEPARATOR, "_") for trial_id in trial_ids]
    whole = _SEPARATOR.join(names)
    if len(whole.encode()) <= _LONGEST_ID:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    for n_kept in range(len(names) - 1, -1, -1):
        short = _SEPARATOR.join([*names[:n_kept], f"{len(names) - n_kept}-more-{digest}"])
        if len(short.encode()) <= _LONGEST_ID:
            break
    return short


def n_members(ensemble_id: str) -> int:
    """Return how many trials an `ensemble_id` stands for."""
    *names, last = ensemble_id.split(_SEPARATOR)
    more = re.fullmatch(r"(\d+)-more-[0-9a-f]{8}", last)
    return len(names) + (int(more[1]) if more else 1)
