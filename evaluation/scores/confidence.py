"""Confidence intervals: over training runs, over test images, and of the difference of two embeddings."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2
_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Interval:
    """``mean ± half_width`` at 95 % confidence; ``half_width`` is None for a single value."""

    mean: float
    half_width: float | None

    @property
    def low(self) -> float:
        return self.mean - (self.half_width or 0.0)

    @property
    def high(self) -> float:
        return self.mean + (self.half_width or 0.0)


def t_interval(values: Sequence[float]) -> Interval | None:
    """Return the mean of independent runs with Student's interval; None of no values."""
    if len(values) < 2:
        return Interval(values[0], None) if len(values) else None
    with _equal_values():
        low, high = stats.ttest_1samp(values, 0).confidence_interval(CONFIDENCE)
    return Interval(fmean(values), float(high - low) / 2)


def welch_interval(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """Return the difference of two means, first minus second, whose runs may differ in variance.

    The degrees of freedom are those of Welch and Satterthwaite. None if either has fewer than two values.
    """
    if min(len(first), len(second)) < 2:
        return None
    with _equal_values():
        low, high = stats.ttest_ind(first, second, equal_var=False).confidence_interval(CONFIDENCE)
    return Interval(fmean(first) - fmean(second), float(high - low) / 2)


@contextmanager
def _equal_values() -> Iterator[None]:
    """Silence scipy's warning that equal values lose precision: their interval has no width either way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def bootstrap_share(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % percentile-bootstrap interval of a share of ``n`` images.

    The number of correct images in a resample of n is binomial, so its quantiles need no draws.
    """
    low, high = stats.binom.ppf([_TAIL, 1 - _TAIL], n, share) / n
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The difference of two accuracies on the same images, with its 95 % bootstrap interval.

    ``p_value`` is that of McNemar's exact test: the probability that the images which only one of the two
    classifies correctly are split at least so unevenly, if both are equally good.
    """

    difference: float
    low: float
    high: float
    p_value: float


def paired_difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedDifference:
    """Compare two embeddings by which images (n,) each classifies correctly, first minus second."""
    n, only_first, only_second = len(first), int((first & ~second).sum()), int((second & ~first).sum())
    shares = np.array([only_first, only_second, n - only_first - only_second]) / n
    draws = np.random.default_rng(0).multinomial(n, shares, size=_RESAMPLES)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / n, [_TAIL, 1 - _TAIL])
    discordant = only_first + only_second
    p_value = stats.binomtest(only_first, discordant).pvalue if discordant else 1.0
    return PairedDifference((only_first - only_second) / n, float(low), float(high), float(p_value))
