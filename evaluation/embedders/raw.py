"""The pixels themselves, as an embedding."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from evaluation.embedders.embedding import Embedding, EmbeddingKey, Images


@dataclass(frozen=True, slots=True)
class Raw:
    """Pixels in [0, 1], untouched: what an embedding has to keep up with at a fraction of the dimensions."""

    n_pixels: int
    relative_cost: ClassVar[int] = 3
    on_gpu: ClassVar[bool] = False

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return (EmbeddingKey("raw", self.n_pixels),)

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        yield Embedding(self.keys[0], *images.pixels())
