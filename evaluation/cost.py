"""How long an evaluation will take, before it begins: what a time budget has to leave for it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from evaluation.plan import DEFAULT_DIMS
from evaluation.protocols import KnnGrid, Round, score_round

SAFETY = 1.2
"""The answer is meant as an upper bound."""

# Core-seconds on the machine of BENCHMARKS.md, whose speed is `_REFERENCE`; scaled to this one's.
_START_S = 5.0  # Ray's workers import torch and scikit-learn
_FINISH_S = 10.0  # tables, figures, report
_VAE_S_PER_VALUE = 1.5e-7  # of a wide ResNet's encoder, per pixel and channel
_COMPILE_S = 32.0  # numba, once for UMAP
_UMAP_GRAPH_S_PER_VALUE = 1.5e-7  # per pixel and channel
_UMAP_LAYOUT_S = 6.0e-4  # per image and dimension asked for, at UMAP's 200 epochs
_UMAP_SMALL = 10_000  # up to here UMAP takes 500 epochs
_UMAP_SMALL_FACTOR = 2.5

_PROBE_QUERIES = 256
_PROBE_ROUNDS = 4  # the first pays for imports and allocations
_PROBE_REFERENCES = (2_000, 20_000)  # among few, keeping the nearest would cost more than comparing
_PROBE_DIMS = (10, 784)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Seconds of one core for one query: ``per_query + n_references * (per_pair + dim * per_value)``."""

    per_query: float
    per_pair: float
    per_value: float

    def seconds(self, n_queries: float, n_references: float, dim: int) -> float:
        return n_queries * (self.per_query + n_references * (self.per_pair + dim * self.per_value))


_REFERENCE = Speed(per_query=4.3e-5, per_pair=4.1e-9, per_value=5.3e-11)


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
    speed: Speed | None = None,
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
        Without labels nothing is scored.
    speed
        Of this machine; None measures it, for about a second, best while nothing else runs.
    """
    speed = speed or measure_speed()
    n_images = n_train + n_test
    slowdown = fmean(
        speed.seconds(1, _PROBE_REFERENCES[1], dim) / _REFERENCE.seconds(1, _PROBE_REFERENCES[1], dim)
        for dim in _PROBE_DIMS
    )
    n_vaes = n_finalists * (1 + n_seeds)
    n_members = n_finalists if n_finalists > 1 else 0  # of the ensemble, embedded once more
    largest = min(n_pixels, n_train)
    # PCA is taken at the finalists' dimensions too. A k-d tree, for two dimensions, is faster than this.
    low = [*dims, *dims, *[latent_dim] * (n_vaes + n_finalists)]
    folds = KnnGrid().n_folds

    def scoring(dim: int) -> float:
        return (
            speed.seconds(n_test, n_train, dim) + speed.seconds(n_train, n_train * (1 - 1 / folds), dim)
            if labelled
            else 0.0
        )

    layouts = len(dims) * (_UMAP_SMALL_FACTOR if n_train <= _UMAP_SMALL else 1)
    umap = slowdown * (
        _COMPILE_S + n_images * (_UMAP_GRAPH_S_PER_VALUE * n_pixels + _UMAP_LAYOUT_S * layouts)
    )
    pca = speed.per_value * n_train * n_pixels * largest
    vaes = slowdown * _VAE_S_PER_VALUE * n_images * n_pixels * (n_vaes + n_members)
    ensemble = scoring(n_members * latent_dim) if n_members else 0.0
    work = umap + pca + vaes + ensemble + scoring(n_pixels) + sum(scoring(min(dim, largest)) for dim in low)
    # UMAP runs on one core, from the start; whatever is scored after it waits for it.
    longest = umap + scoring(max(dims)) / (folds + 1)
    wall = work / n_slots + (1 - 1 / n_slots) * longest
    return SAFETY * (slowdown * (_START_S + _FINISH_S) + wall)


def measure_speed() -> Speed:
    """Time the scoring of random points on one core, in three sizes.

    Its clock is the processor's, so other work on the machine counts only as far as it slows the core down.
    Of several rounds the fastest counts, as noise only ever adds.
    """
    few, many = _PROBE_REFERENCES
    low, high = _PROBE_DIMS
    with threadpool_limits(1):
        rounds = [(_probe(few, low), _probe(many, low), _probe(many, high)) for _ in range(_PROBE_ROUNDS)]
    times = [min(column) for column in zip(*rounds, strict=True)]
    # What noise makes negative is nothing.
    per_value = max(0.0, times[2] - times[1]) / (many * (high - low))
    per_reference = max(0.0, times[1] - times[0]) / (many - few)
    per_pair = max(0.0, per_reference - low * per_value)
    per_query = max(0.0, times[0] - few * per_reference)
    return Speed(per_query=per_query, per_pair=per_pair, per_value=per_value)


def _probe(n_references: int, dim: int) -> float:
    """Return the seconds that one query takes among that many references, scored as in an evaluation."""
    generator = np.random.default_rng(0)
    reference = generator.random((n_references, dim), dtype=np.float32)
    query = generator.random((_PROBE_QUERIES, dim), dtype=np.float32)
    labels, query_labels = np.arange(n_references) % 10, np.arange(_PROBE_QUERIES) % 10
    started = time.thread_time()
    score_round(Round("test"), reference, labels, query, query_labels, KnnGrid())
    return (time.thread_time() - started) / _PROBE_QUERIES
