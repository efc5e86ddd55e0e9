"""Embedders that go wrong, each in its own way."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.embedders import Embedding, EmbeddingKey, Images, Pca


@dataclass(frozen=True)
class Raising:
    """Gives one of its two embeddings, then raises."""

    relative_cost = 1
    on_gpu = False
    uses_raw_neighbors = False
    keys = (EmbeddingKey("raising", 1), EmbeddingKey("raising", 2))

    def embeddings(self, images: Images, device: str) -> Iterator[Embedding]:
        yield Embedding(
            self.keys[0], np.zeros((len(images.train), 1), "f4"), np.zeros((len(images.test), 1), "f4")
        )
        raise RuntimeError("no such\nluck")


@dataclass(frozen=True)
class NotANumber:
    """Gives NaN."""

    relative_cost = 1
    on_gpu = False
    uses_raw_neighbors = False
    keys = (EmbeddingKey("nan", 1),)

    def embeddings(self, images: Images, device: str) -> Iterator[Embedding]:
        nan = np.full((len(images.train), 1), np.nan, "f4")
        yield Embedding(self.keys[0], nan, nan[: len(images.test)])


@dataclass(frozen=True)
class KilledOnce:
    """PCA whose process is killed at the first try."""

    marker: Path
    relative_cost = 5
    on_gpu = False
    uses_raw_neighbors = False
    keys = (EmbeddingKey("pca", 2),)

    def embeddings(self, images: Images, device: str) -> Iterator[Embedding]:
        if not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield from Pca((2,)).embeddings(images)
