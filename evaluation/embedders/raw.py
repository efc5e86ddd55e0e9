"""The pixels themselves, as an embedding."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from evaluation.embedders.embedding import Embedding, EmbeddingKey, Images
from evaluation.embedders.method import Method, PlanRequest


@dataclass(frozen=True, slots=True)
class Raw(Method):
    """Pixels in [0, 1], unchanged: what an embedding has to match with a fraction of the dimensions."""

    n_pixels: int
    name = "raw"
    title = "raw pixels"
    description = "the pixels themselves"
    colour = "#6b7280"
    default = True
    relative_cost = 3

    @classmethod
    def plan(cls, request: PlanRequest) -> list[Self]:
        return [cls(request.n_pixels)]

    @property
    def keys(self) -> tuple[EmbeddingKey, ...]:
        return (EmbeddingKey(self.name, self.n_pixels),)

    def embeddings(self, images: Images, device: str = "cpu") -> Iterator[Embedding]:
        yield Embedding(self.keys[0], *images.pixels())
