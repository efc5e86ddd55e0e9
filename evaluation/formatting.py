"""How the terminal, the figures and the report write numbers, intervals, times and counts."""

import math
from datetime import datetime
from typing import Any

from evaluation.scores.confidence import Interval
from tune.space.display import percent

MISSING = "–"
"""What stands for a value that was not measured."""

SHARES = ("val_knn_accuracy", "val_neighbour_recall")
"""Objectives in [0, 1] that are written in percent; others are written as they are."""
_LIMITS = {
    **dict.fromkeys(SHARES, (0.0, 1.0)),
    "val_ssim": (-1.0, 1.0),
    "val_mse": (0.0, math.inf),
    "val_rankme": (0.0, math.inf),
}
"""Beyond which there are no values, so that an interval ends there."""
_NO_SPREAD = 1e-9
"""Half of the width of an interval of equal values, but for rounding; it says nothing."""


def percent_or_missing(share: float | None, decimals: int = 1) -> str:
    """Return a share in percent, or `MISSING`."""
    return MISSING if share is None else percent(share, decimals)


def points(difference: float | None) -> str:
    """Return a difference of two shares in percentage points, with its sign.

    Examples
    --------
    >>> points(0.015), points(-0.2)
    ('+1.5', '−20.0')
    """
    return MISSING if difference is None else f"{100 * difference:+.1f}".replace("-", "−")


def p_value(p: float) -> str:
    """Return a p-value as papers give it.

    Examples
    --------
    >>> p_value(0.0312), p_value(2e-9)
    ('0.031', '< 0.001')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def objective_value(value: float | None, metric: str) -> str:
    """Return the value of an objective, shares in percent."""
    if value is None:
        return MISSING
    if metric in SHARES:
        return percent(value)
    return number(value) if float(value).is_integer() else f"{value:.4g}"


def objective_difference(difference: float, metric: str) -> str:
    """Return a difference of two values of an objective with its sign, shares in percentage points.

    That of two shares is at most 100 points: a bound of an interval that lies beyond is that.
    """
    if metric in SHARES:
        return points(min(1.0, max(-1.0, difference)))
    return f"{difference:+.3g}".replace("-", "−")


def interval(found: Interval | None, metric: str = "val_knn_accuracy") -> str:
    """Return a mean of objectives and its interval as far as there are such values, shares in percent.

    Examples
    --------
    >>> interval(Interval(0.91, 0.0248)), interval(Interval(0.91, 0.2)), interval(Interval(0.91, None))
    ('91.0 % [88.5, 93.5]', '91.0 % [71.0, 100.0]', '91.0 %')
    >>> interval(Interval(0.1, 0.02), "val_mse")
    '0.1 [0.08, 0.12]'
    """
    if found is None:
        return MISSING
    if found.half_width is None or found.half_width < _NO_SPREAD:
        return objective_value(found.mean, metric)
    least, most = _LIMITS.get(metric, (-math.inf, math.inf))
    low, high = max(least, found.low), min(most, found.high)
    if metric in SHARES:
        return share_and_interval(found.mean, (low, high))
    return f"{objective_value(found.mean, metric)} [{low:.4g}, {high:.4g}]"


def share_and_interval(share: float | None, bounds: tuple[float, float] | None) -> str:
    """Return a share in percent and the bounds of its interval, where they are known.

    Examples
    --------
    >>> share_and_interval(1.0, (0.9894, 1.0)), share_and_interval(0.5, None)
    ('100.0 % [98.9, 100.0]', '50.0 %')
    """
    if share is None or bounds is None:
        return percent_or_missing(share)
    return f"{percent(share)} [{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"


def mean_and_spread(mean: float | None, spread: float | None) -> str:
    """Return a share in percent, with ± where its standard deviation is known.

    Examples
    --------
    >>> mean_and_spread(0.91, 0.0248)
    '91.0 ± 2.5 %'
    """
    if mean is None or spread is None:
        return percent_or_missing(mean)
    return f"{100 * mean:.1f} ± {percent(spread)}"


def number(value: Any) -> str:
    """Return a count, a hyperparameter or a name; thousands are separated.

    Examples
    --------
    >>> number(3200), number(0.00312), number(None)
    ('3,200', '0.00312', '–')
    """
    if value is None:
        return MISSING
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def counted(n: float, noun: str) -> str:
    """Return a count and its noun, such as ``1 epoch`` and ``2.5 epochs``."""
    return f"{number(n)} {noun}{'' if n == 1 else 's'}"


def day(timestamp: str | None) -> str:
    """Return a time in ISO format as a date and a time of day."""
    return MISSING if timestamp is None else f"{datetime.fromisoformat(timestamp):%-d %B %Y, %H:%M} UTC"


def unbroken(text: str) -> str:
    """Return a text that a browser does not wrap."""
    return text.replace(" ", "\u00a0")
