"""How sure a figure is: over training runs, over test images, and for the difference of two embeddings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2
_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Interval:
    """``mean ± half_width`` at 95 % confidence; ``half_width`` is None where one value alone gives none."""

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
    n = len(values)
    if n < 2:
        return Interval(values[0], None) if n else None
    return Interval(fmean(values), _quantile(n - 1) * math.sqrt(variance(values) / n))


def welch_interval(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """Return the difference of two means, first minus second, whose runs may scatter differently.

    The degrees of freedom are those of Welch and Satterthwaite, as in `scipy.stats.ttest_ind` with
    ``equal_var=False``. None if either has fewer than two values.
    """
    if min(len(first), len(second)) < 2:
        return None
    a, b = variance(first) / len(first), variance(second) / len(second)
    difference = fmean(first) - fmean(second)
    if a + b == 0:
        return Interval(difference, 0.0)
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    return Interval(difference, _quantile(freedom) * math.sqrt(a + b))


def _quantile(freedom: float) -> float:
    return float(stats.t.ppf(1 - _TAIL, freedom))


def bootstrap_share(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % percentile-bootstrap interval of a share of ``n`` images.

    The right ones in a resample of n images are binomial, so the quantiles need no draws.
    """
    low, high = stats.binom.ppf([_TAIL, 1 - _TAIL], n, share) / n
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The difference of two accuracies on the same images, with its 95 % bootstrap interval.

    ``p_value`` is that of McNemar's exact test: how likely so lopsided a count of the images that only one of
    them gets right would be, if either were equally good.
    """

    difference: float
    low: float
    high: float
    p_value: float


def paired_difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedDifference:
    """Compare two embeddings by the images (n,) that each one gets right, first minus second."""
    n, only_first, only_second = len(first), int((first & ~second).sum()), int((second & ~first).sum())
    shares = np.array([only_first, only_second, n - only_first - only_second]) / n
    draws = np.random.default_rng(0).multinomial(n, shares, size=_RESAMPLES)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / n, [_TAIL, 1 - _TAIL])
    discordant = only_first + only_second
    p_value = stats.binomtest(only_first, discordant).pvalue if discordant else 1.0
    return PairedDifference((only_first - only_second) / n, float(low), float(high), float(p_value))
