"""From images to embeddings to scores: the events of one evaluation, computed in this process.

`evaluation.pipeline.ray_tasks` gives the same events from Ray tasks.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from evaluation.embedders import Embedder, Embedding, EmbeddingKey, Images, Raw
from evaluation.embedders.umap import N_NEIGHBORS
from evaluation.result_tables import PREDICTIONS
from evaluation.scores.as_searched import score_as_searched
from evaluation.scores.protocols import ROUNDS, Round, assign_folds, score_round
from evaluation.scores.ranks import Proximity
from evaluation.scores.settings import KnnGrid, Setting
from evaluation.scores.structure import pixel_proximity, score_structure
from vae.errors import one_line
from vae.metrics.neighbor_graph import KnownNeighbors
from vae.metrics.neighbors import Neighbors

logger = logging.getLogger(__name__)

STRUCTURE_ROUND = "structure"


@dataclass(frozen=True, slots=True)
class Embedded:
    """An embedding has been made."""

    embedding: Embedding

    @property
    def key(self) -> EmbeddingKey:
        return self.embedding.key


@dataclass(frozen=True, slots=True)
class Scored:
    """One round of an embedding is scored: rows of the tables `evaluations` and `predictions`."""

    key: EmbeddingKey
    round: Round
    rows: list[dict[str, Any]]
    predictions: pa.Table | None = None
    neighbors: Neighbors | None = None
    """Of raw pixels: the nearest few of each image, for embedders that use them."""


@dataclass(frozen=True, slots=True)
class MissingScore:
    """What is missing from the results, and why; ``round`` None: the whole embedding."""

    key: EmbeddingKey
    round: Round | None
    reason: str

    def __str__(self) -> str:
        return f"{self.key}{'' if self.round is None else f', {self.round}'}: {self.reason}"


Event = Embedded | Scored | MissingScore
"""What an evaluation reports while it runs; of each embedding first `Embedded`, then one for each round."""
Compute = Callable[[Images, Sequence[Embedder], KnnGrid], Iterator[Event]]
"""Where an evaluation is computed: `compute` here, in this process, or `ray_tasks.compute` on a cluster."""


def compute(images: Images, embedders: Sequence[Embedder], grid: KnnGrid) -> Iterator[Event]:
    """Embed and score one after the other; a failure is a `MissingScore` and the others continue."""
    pixels = proximity(images, grid)
    of_raw: dict[str, Neighbors] = {}
    for embedder in embedders:
        missing = list(embedder.keys)
        given = with_raw_neighbors(images, grid, of_raw) if embedder.uses_raw_neighbors else images
        try:
            for embedding in embedder.embeddings(given, "cpu"):
                missing.remove(embedding.key)
                if missing_score := not_finite(embedding):
                    yield missing_score
                    continue
                yield Embedded(embedding)
                for event in _score(embedding, images, grid, pixels):
                    if isinstance(event, Scored) and event.neighbors is not None:
                        of_raw[event.round.protocol] = event.neighbors
                    yield event
        except Exception as error:  # whatever one method raises, the others are evaluated
            logger.debug("%s failed", embedder, exc_info=True)
            yield from (MissingScore(key, None, one_line(error)) for key in missing)


def _score(embedding: Embedding, images: Images, grid: KnnGrid, pixels: Proximity | None) -> Iterator[Event]:
    for which in planned_rounds(images, grid):
        try:
            yield score(embedding, images, which, grid, pixels)
        except Exception as error:
            logger.debug("%s, %s failed", embedding.key, which, exc_info=True)
            yield MissingScore(embedding.key, which, one_line(error))


def planned_rounds(images: Images, grid: KnnGrid) -> list[Round]:
    """Return the rounds that are possible: without labels only that of the structure."""
    labelled = images.train_labels is not None and images.test_labels is not None
    return [*(ROUNDS if labelled else ()), Round(STRUCTURE_ROUND)]


def proximity(images: Images, grid: KnnGrid) -> Proximity | None:
    """Return what the structure of all embeddings is compared with; None if there are no or few pixels."""
    return pixel_proximity(images.test_pixels(), seed=grid.seed) if images.test.size else None


def with_raw_neighbors(images: Images, grid: KnnGrid, found: Mapping[str, Neighbors]) -> Images:
    """Return the images with the neighbours that the rounds of raw pixels have found, if all did, by name."""
    if images.train_labels is None or not {which.protocol for which in ROUNDS} <= found.keys():
        return images
    fold = assign_folds(images.train_labels, grid, images.train_groups)
    return replace(images, raw_neighbors=KnownNeighbors(fold, found["cv"], found["test"]))


def score(
    embedding: Embedding,
    images: Images,
    which: Round,
    grid: KnnGrid,
    pixels: Proximity | None = None,
    device: str = "cpu",
) -> Scored:
    """Score one round of an embedding; that of the structure needs the `proximity` of the images."""
    key = embedding.key
    columns = asdict(key)
    if which.protocol == STRUCTURE_ROUND:
        rows = score_structure(
            embedding.train,
            images.train_labels,
            embedding.test,
            images.test_labels,
            pixels,
            seed=grid.seed,
        )
        return Scored(key, which, [columns | row for row in rows])
    assert images.train_labels is not None
    assert images.test_labels is not None
    train, test = (_to_device(points, device) for points in (embedding.train, embedding.test))
    scores = score_round(
        which, train, images.train_labels, test, images.test_labels, grid, images.train_groups
    )
    if which.protocol == "test" and images.searched is not None:
        found = images.searched
        scores.rows.extend(
            score_as_searched(
                train,
                images.train_labels,
                test,
                images.test_labels,
                found.reference,
                found.validation,
                found.seed,
            )
        )
    tables = [
        predictions_table(columns, setting, images.test_labels, predicted)
        for setting, predicted in scores.predicted.items()
    ]
    predictions = pa.concat_tables(tables) if tables else None
    neighbors = None
    if key.method == Raw.name and scores.neighbors is not None:
        neighbors = scores.neighbors.first(N_NEIGHBORS)
    return Scored(key, which, [columns | row for row in scores.rows], predictions, neighbors)


def predictions_table(
    columns: Mapping[str, Any], setting: Setting, labels: NDArray[np.int64], predicted: NDArray[np.int64]
) -> pa.Table:
    """Return the rows of the `predictions` table that one setting of an embedding gives."""
    n = len(labels)
    same = {**columns, **asdict(setting)}
    own = {"index": np.arange(n), "label": labels, "predicted": predicted}
    return pa.table(
        {
            column.name: pa.array(own[column.name], column.type)
            if column.name in own
            else pa.repeat(pa.scalar(same.get(column.name), column.type), n)
            for column in PREDICTIONS
        },
        schema=PREDICTIONS,
    )


def not_finite(embedding: Embedding) -> MissingScore | None:
    """Return what is missing if the embedding holds NaN or infinity, else None."""
    return (
        None if embedding.finite else MissingScore(embedding.key, None, "the embedding holds NaN or infinity")
    )


def _to_device(points: NDArray[np.float32], device: str) -> NDArray[np.float32] | torch.Tensor:
    return points if device == "cpu" else torch.tensor(points, device=device)
