"""Confidence intervals: over training runs, over test images, and of the difference of two embeddings."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import hypot, sqrt
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95


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


def share_interval(share: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of ``n`` images.

    It lies within [0, 1] and has a width at 0 and at 1 too, where resampling gives none.
    """
    found = stats.binomtest(round(share * n), n).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference and its 95 % interval."""

    difference: float
    low: float
    high: float


def share_difference(first: float, n_first: int, second: float, n_second: int) -> Difference:
    """Return the difference of two shares, first minus second, of different images.

    The interval is Newcombe's (1998, method 10), from those of `share_interval`.
    """
    low, high = share_interval(first, n_first)
    other_low, other_high = share_interval(second, n_second)
    difference = first - second
    return Difference(
        difference,
        difference - hypot(first - low, other_high - second),
        difference + hypot(high - first, second - other_low),
    )


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The difference of two accuracies on the same images, with its 95 % interval.

    ``p_value`` is that of McNemar's exact test: the probability that the images which only one of the two
    classifies correctly are split at least so unevenly, if both are equally good.
    """

    difference: float
    low: float
    high: float
    p_value: float


def paired_difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], *, n_comparisons: int = 1
) -> PairedDifference:
    """Compare two embeddings by which images (n,) each classifies correctly, first minus second.

    Of several comparisons each is stricter, so that all of their intervals hold at once with 95 %, and that
    one of their p-values is below .05 by chance happens with at most that probability (Bonferroni).

    The interval is that of Bonett and Price (2012), which adds an image to either kind of discordant ones: it
    has a width where there are none, too.
    """
    n, only_first, only_second = len(first), int((first & ~second).sum()), int((second & ~first).sum())
    share, other = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    quantile = float(stats.norm.ppf(1 - (1 - CONFIDENCE) / 2 / n_comparisons))
    half = quantile * sqrt((share + other - (share - other) ** 2) / (n + 2))
    low, high = max(-1.0, share - other - half), min(1.0, share - other + half)
    discordant = only_first + only_second
    p_value = stats.binomtest(only_first, discordant).pvalue if discordant else 1.0
    return PairedDifference(
        (only_first - only_second) / n, low, high, min(1.0, n_comparisons * float(p_value))
    )
