"""How long an evaluation and its steps will take: for time budgets and for progress."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from evaluation.embedders import Embedder, EmbeddingKey, Ensemble, Images, n_members
from evaluation.embedders.method import DEFAULT_DIMS
from evaluation.scores.protocols import Round, score_round
from evaluation.scores.settings import KnnGrid
from evaluation.scores.structure import MAX_IMAGES

SAFETY = 1.2
"""The answer is meant as an upper bound."""

# Core-seconds on an AMD EPYC (AVX-512), see BENCHMARKS.md; scaled to this machine's speed.
_START_S = 5.0  # Ray's workers import torch and scikit-learn
_FINISH_S = 10.0  # tables, figures, report
_S_PER_PRODUCT = 2.8e-11  # of a matrix product in float32, per multiplication
_PCA_S_PER_PRODUCT = 5.3e-11
_VAE_S_PER_VALUE = 1.5e-7  # of a wide ResNet's encoder, per pixel and channel
_STRUCTURE_S = 1.3  # of an embedding of many test images, and more for each dimension of it
_STRUCTURE_S_PER_DIM = 0.015
_COMPILE_S = 12.0  # numba, once for UMAP
_UMAP_LAYOUT_S = 6.0e-4  # per image and dimension asked for, at UMAP's 200 epochs
_UMAP_SMALL = 10_000  # up to here UMAP takes 500 epochs
_UMAP_SMALL_FACTOR = 2.5
_TSNE_S = 2.0e-3  # per image
_PACMAP_S = 4.7e-4  # per image

_PROBE_QUERIES = 256
_PROBE_REFERENCES = 20_000
_PROBE_ROUNDS = 4  # the first pays for imports and allocations
_PROBE_SECONDS = {10: 2.3e-4, 784: 1.30e-3}  # dimension: of one query, there


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much there is to evaluate; what its methods return are core-seconds there.

    Parameters
    ----------
    n_train, n_test
        Images of both splits; the training set is the whole one, validation images included.
    n_pixels
        Values of an image, C·H·W.
    labelled
        Without labels there are no votes.
    """

    n_train: int
    n_test: int
    n_pixels: int
    labelled: bool = True

    @property
    def n_images(self) -> int:
        return self.n_train + self.n_test

    def rounds(self, dim: int) -> dict[str, float]:
        """Return what each round of scores takes, by its name."""
        structure = min(1, self.n_test / MAX_IMAGES) * (_STRUCTURE_S + _STRUCTURE_S_PER_DIM * dim)
        if not self.labelled:
            return {"structure": structure}
        n_others = self.n_train * (1 - 1 / KnnGrid().n_folds)
        return {
            "test": scoring_seconds(self.n_test, self.n_train, dim),
            "cv": scoring_seconds(self.n_train, n_others / 2, dim),  # each pair is measured once
            "structure": structure,
        }

    def pca(self) -> float:
        return _PCA_S_PER_PRODUCT * self.n_train * self.n_pixels * min(self.n_pixels, self.n_train)

    def umap_graph(self) -> float:
        # What the scores of raw pixels leave to find: the pairs within a fold.
        n_own = self.n_train / KnnGrid().n_folds if self.labelled else self.n_train
        return _COMPILE_S + scoring_seconds(self.n_train, n_own / 2, self.n_pixels)

    def umap_layout(self) -> float:
        return self.n_images * _UMAP_LAYOUT_S * (_UMAP_SMALL_FACTOR if self.n_train <= _UMAP_SMALL else 1)

    def vae(self) -> float:
        return _VAE_S_PER_VALUE * self.n_images * self.n_pixels


def scoring_seconds(n_queries: float, n_references: float, dim: int) -> float:
    """Return the core-seconds of one round on the machine of these constants."""
    return n_queries * (6e-5 + n_references * (1.9e-9 + _S_PER_PRODUCT * dim))


Step = tuple[EmbeddingKey, str | None]
"""Making an embedding, or scoring a round of it, by its name."""


def expected_steps(images: Images, embedders: Sequence[Embedder]) -> dict[Step, float]:
    """Return the core-seconds of each step of an evaluation on the machine of these constants."""
    labelled = images.train_labels is not None and images.test_labels is not None
    n_pixels = max(1, images.train[:1].size)
    size = Size(n_train=len(images.train), n_test=len(images.test), n_pixels=n_pixels, labelled=labelled)
    expected: dict[Step, float] = {}
    for embedder in embedders:
        for number, key in enumerate(embedder.keys):
            expected[key, None] = _embedding_seconds(size, key, is_first=not number)
            expected |= {(key, name): seconds for name, seconds in size.rounds(key.dim).items()}
    return expected


def _embedding_seconds(size: Size, key: EmbeddingKey, *, is_first: bool) -> float:
    match key.method:
        case "pca":
            return is_first * size.pca()
        case "umap" | "pca_umap" | "vae_umap":
            return size.umap_layout() + is_first * size.umap_graph()
        case "tsne":
            return _TSNE_S * size.n_images
        case "pacmap":
            return _PACMAP_S * size.n_images
        case Ensemble.name:
            return n_members(key.trial_id or "") * size.vae()
        case "vae" | "untrained":
            return size.vae()
    return 0.0


def wall_seconds(expected: Mapping[Step, float], n_slots: int) -> float:
    """Return the wall time of steps on so many cores; the embeddings of one method come one by one."""
    chains: defaultdict[tuple[str, str | None, int | None], float] = defaultdict(float)
    for (key, which), seconds in expected.items():
        if which is None:
            chains[key.method, key.trial_id, key.training_seed] += seconds
    return sum(expected.values()) / n_slots + (1 - 1 / n_slots) * max(chains.values(), default=0.0)


def estimate_seconds(
    *,
    n_train: int,
    n_test: int,
    n_pixels: int,
    n_finalists: int,
    n_seeds: int = 0,
    latent_dim: int,
    n_slots: int,
    dims: Sequence[int] = DEFAULT_DIMS,
    labelled: bool = True,
    slowdown: float | None = None,
) -> float:
    """Return an upper bound of the wall time of the default evaluation, in seconds.

    Parameters
    ----------
    n_train, n_test, n_pixels, labelled
        Those of `Size`.
    n_finalists
        VAEs of the search that are evaluated.
    n_seeds
        Fresh seeds of each, evaluated too.
    latent_dim
        The largest that they can have.
    n_slots
        CPUs of the cluster, as each task of an evaluation takes one.
    dims
        Of PCA and UMAP.
    slowdown
        How much slower this machine is than that of the constants; None measures it, for two seconds.
    """
    slowdown = slowdown or measure_slowdown()
    size = Size(n_train=n_train, n_test=n_test, n_pixels=n_pixels, labelled=labelled)
    n_vaes = n_finalists * (1 + n_seeds) + 1  # the untrained one
    n_members = n_finalists if n_finalists > 1 else 0  # of the ensemble, embedded once more
    largest = min(n_pixels, n_train)

    def scoring(dim: int) -> float:
        return sum(size.rounds(dim).values())

    # PCA is taken at the finalists' dimensions too.
    low = [*dims, *dims, *[latent_dim] * (n_vaes + n_finalists)]
    umap = size.umap_graph() + len(dims) * size.umap_layout()
    work = umap + size.pca() + (n_vaes + n_members) * size.vae() + scoring(n_pixels)
    work += sum(scoring(min(dim, largest)) for dim in low)
    work += scoring(n_members * latent_dim) if n_members else 0.0
    # UMAP runs on one core, after raw pixels; whatever is scored after it waits for it.
    rounds = size.rounds(n_pixels)
    longest = rounds.get("cv", 0.0) + umap + max(size.rounds(max(dims)).values())
    wall = work / n_slots + (1 - 1 / n_slots) * longest
    return SAFETY * slowdown * (_START_S + _FINISH_S + wall)


def measure_slowdown() -> float:
    """Time the scoring of few random points on one core, and compare with the machine of the constants.

    Its clock is the processor's, so other work on the machine counts only as far as it slows the core down.
    Of several rounds the fastest counts, as noise only ever adds.
    """
    with threadpool_limits(1):
        rounds = [[_probe(dim) for dim in _PROBE_SECONDS] for _ in range(_PROBE_ROUNDS)]
    fastest = [min(times) for times in zip(*rounds, strict=True)]
    return fmean(time / there for time, there in zip(fastest, _PROBE_SECONDS.values(), strict=True))


def _probe(dim: int) -> float:
    """Return the seconds that the scoring of a query takes, as in an evaluation."""
    generator = np.random.default_rng(0)
    reference = generator.random((_PROBE_REFERENCES, dim), dtype=np.float32)
    query = generator.random((_PROBE_QUERIES, dim), dtype=np.float32)
    labels, query_labels = np.arange(_PROBE_REFERENCES) % 10, np.arange(_PROBE_QUERIES) % 10
    started = time.thread_time()
    score_round(Round("test"), reference, labels, query, query_labels, KnnGrid())
    return (time.thread_time() - started) / _PROBE_QUERIES
