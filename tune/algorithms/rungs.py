"""The rungs at which ASHA and Hyperband judge: their epochs, and what a trial must reach to continue."""

import math
from collections.abc import Iterable

from vae.errors import UsageError


def rung_epochs(max_epochs: int, grace_period: int, reduction_factor: float) -> tuple[int, ...]:
    """Return the epochs at which trials are judged: ``grace_period * reduction_factor**k < max_epochs``.

    Raises
    ------
    UsageError
        A value is out of range, or no rung lies below the full budget, so that nothing could ever be stopped.
    """
    if max_epochs < 2:
        raise UsageError(
            f"max_epochs must be >= 2, got {max_epochs}: weak trials are stopped before the last epoch"
        )
    if grace_period < 1:
        raise UsageError(f"grace_period must be >= 1, got {grace_period}")
    if not 1 < reduction_factor < math.inf:
        raise UsageError(f"reduction_factor must be > 1, got {reduction_factor:g}")
    if grace_period >= max_epochs:
        raise UsageError(
            f"grace_period must be < max_epochs, got {grace_period} and {max_epochs}: nothing can be stopped"
        )
    rungs: list[int] = []
    epoch = float(grace_period)
    while round(epoch) < max_epochs:  # multiplied step by step: logarithms miss rungs (27, 1, 3) by rounding
        if not rungs or round(epoch) > rungs[-1]:
            rungs.append(round(epoch))
        epoch *= reduction_factor
    return tuple(rungs)


def rung_cutoff(values: Iterable[float], reduction_factor: float) -> float:
    """Return the worst of the best ``1 / reduction_factor`` values, of which there is always one.

    Larger values are better.
    """
    ranked = sorted(values, reverse=True)
    return ranked[max(1, int(len(ranked) / reduction_factor)) - 1]
