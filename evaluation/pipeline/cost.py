"""How long an evaluation will take, before it begins: what a time budget has to leave for it."""

import time
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from evaluation.embedders.method import DEFAULT_DIMS
from evaluation.scores.protocols import Round, score_round
from evaluation.scores.settings import KnnGrid
from evaluation.scores.structure import MAX_IMAGES

SAFETY = 1.2
"""The answer is meant as an upper bound."""

# Core-seconds on the machine of BENCHMARKS.md; scaled to this one's speed.
_START_S = 5.0  # Ray's workers import torch and scikit-learn
_FINISH_S = 10.0  # tables, figures, report
_S_PER_PRODUCT = 5.3e-11  # of a matrix product, per multiplication
_VAE_S_PER_VALUE = 1.5e-7  # of a wide ResNet's encoder, per pixel and channel
_STRUCTURE_S = 6.0  # of an embedding of many test images, and more for each dimension of it
_STRUCTURE_S_PER_DIM = 0.015
_COMPILE_S = 32.0  # numba, once for UMAP
_UMAP_GRAPH_S_PER_VALUE = 1.5e-7  # per pixel and channel
_UMAP_LAYOUT_S = 6.0e-4  # per image and dimension asked for, at UMAP's 200 epochs
_UMAP_SMALL = 10_000  # up to here UMAP takes 500 epochs
_UMAP_SMALL_FACTOR = 2.5

_PROBE_QUERIES = 256
_PROBE_REFERENCES = 20_000
_PROBE_ROUNDS = 4  # the first pays for imports and allocations
_PROBE_SECONDS = {10: 2.15e-4, 784: 1.415e-3}  # dimension: of one query, there


def scoring_seconds(n_queries: float, n_references: float, dim: int) -> float:
    """Return the core-seconds of one round on the machine of BENCHMARKS.md."""
    return n_queries * (4.3e-5 + n_references * (4.1e-9 + _S_PER_PRODUCT * dim))


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
    n_train, n_test
        Images of both splits; the training set is the whole one, validation images included.
    n_pixels
        Values of an image, C·H·W.
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
    labelled
        Without labels there are no votes.
    slowdown
        How much slower this machine is than that of BENCHMARKS.md; None measures it, for two seconds.
    """
    slowdown = slowdown or measure_slowdown()
    n_images = n_train + n_test
    n_vaes = n_finalists * (1 + n_seeds) + 1  # the untrained one
    n_members = n_finalists if n_finalists > 1 else 0  # of the ensemble, embedded once more
    largest = min(n_pixels, n_train)
    # PCA is taken at the finalists' dimensions too. A k-d tree, for two dimensions, is faster than this.
    low = [*dims, *dims, *[latent_dim] * (n_vaes + n_finalists)]
    folds = KnnGrid().n_folds

    def scoring(dim: int) -> float:
        structure = min(1, n_test / MAX_IMAGES) * (_STRUCTURE_S + _STRUCTURE_S_PER_DIM * dim)
        if not labelled:
            return structure
        votes = scoring_seconds(n_test, n_train, dim)
        return structure + votes + scoring_seconds(n_train, n_train * (1 - 1 / folds), dim)

    layouts = len(dims) * (_UMAP_SMALL_FACTOR if n_train <= _UMAP_SMALL else 1)
    umap = _COMPILE_S + n_images * (_UMAP_GRAPH_S_PER_VALUE * n_pixels + _UMAP_LAYOUT_S * layouts)
    pca = _S_PER_PRODUCT * n_train * n_pixels * largest
    vaes = _VAE_S_PER_VALUE * n_images * n_pixels * (n_vaes + n_members)
    ensemble = scoring(n_members * latent_dim) if n_members else 0.0
    work = umap + pca + vaes + ensemble + scoring(n_pixels) + sum(scoring(min(dim, largest)) for dim in low)
    # UMAP runs on one core, from the start; whatever is scored after it waits for it.
    longest = umap + scoring(max(dims)) / (folds + 1)
    wall = work / n_slots + (1 - 1 / n_slots) * longest
    return SAFETY * slowdown * (_START_S + _FINISH_S + wall)


def measure_slowdown() -> float:
    """Time the scoring of few random points on one core, and compare with the machine of BENCHMARKS.md.

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
