"""How sure a mean of a few training runs is, and the difference of two of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from scipy import stats

CONFIDENCE = 0.95


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
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
