"""The full budget of a trial in images seen, when it reports, and the rungs where weak trials are stopped."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from vae.config import epochs_of, epochs_text
from vae.errors import UsageError

DEFAULT_BUDGET = 400_000
"""Eight epochs of the 50,000 images that Fashion-MNIST leaves for training."""
REPORTS = 8
"""A trial is measured with all validation images after each eighth of its budget, at most."""
LOOK_IMAGES = 50_000
"""Between two such reports a trial sees so many images, or an epoch if that is less: five times as many as
the report looks at, so that most of the time is training."""
FIRST_RUNG = 64
"""By default the first rung is at the budget divided by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a trial of a study may take; all counts are of training images seen.

    Parameters
    ----------
    images
        The full budget.
    n_train
        How many training images there are.
    grace_period
        The first rung, before which no trial is stopped.
    reduction_factor
        One of so many trials continues beyond a rung.
    batch_size
        The largest one of the space: reports are at least a step apart.
    has_rungs
        Whether trials are judged at rungs: the median rule judges them at every report.

    Examples
    --------
    >>> Budget(images=400, n_train=50, grace_period=25, reduction_factor=2, batch_size=8).reports
    (25, 50, 100, 150, 200, 250, 300, 350, 400)
    """

    images: int
    n_train: int
    grace_period: int
    reduction_factor: float
    batch_size: int = 1
    has_rungs: bool = True

    @classmethod
    def choose(
        cls,
        *,
        images: int | None,
        max_epochs: float | None,
        grace_period: float | None,
        n_train: int,
        batch_size: int,
        reduction_factor: float,
        has_rungs: bool,
    ) -> "Budget":
        """Return the budget that was asked for in images or in epochs; the grace period is in epochs.

        Raises
        ------
        UsageError
            It is smaller than a batch, a rung is closer than that, or nothing can be stopped.
        """
        if images is None:
            images = DEFAULT_BUDGET if max_epochs is None else round(max_epochs * n_train)
        if images < batch_size:
            asked = (
                f"budget must be >= {batch_size} images"
                if max_epochs is None
                else (f"max_epochs must be >= {batch_size / n_train:.3g} with {n_train} training images")
            )
            got = images if max_epochs is None else f"{max_epochs:g}"
            raise UsageError(f"{asked}, the largest batch_size of the space, got {got}")
        if grace_period is None:
            grace = min(max(images // FIRST_RUNG, batch_size), images - 1)
        else:
            grace = round(grace_period * n_train)
            if grace < batch_size:
                raise UsageError(
                    f"grace_period must be >= {batch_size / n_train:.3g} epochs, a step of the largest "
                    f"batch_size of the space ({batch_size}), got {grace_period:g}"
                )
            if grace >= images:
                raise UsageError(
                    f"grace_period must be < max_epochs, got {grace_period:g} and "
                    f"{epochs_of(images, n_train):g}: nothing can be stopped"
                )
        return cls(
            images=images,
            n_train=n_train,
            grace_period=grace,
            reduction_factor=reduction_factor,
            batch_size=batch_size,
            has_rungs=has_rungs and grace >= 1,
        )

    @property
    def max_epochs(self) -> float:
        """The full budget in epochs."""
        return self.epochs(self.images)

    def epochs(self, images: int) -> float:
        """Return so many images in epochs, an int if they are whole ones."""
        return epochs_of(images, self.n_train)

    def __str__(self) -> str:
        return f"{self.images:,} images ({epochs_text(self.max_epochs)} epochs)"

    @property
    def interval(self) -> int:
        """How far apart the reports are that are no quick looks."""
        return max(-(-self.images // REPORTS), min(self.n_train, LOOK_IMAGES), self.batch_size)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Where trials are judged."""
        if not self.has_rungs:
            return ()
        return rungs_below(self.images, self.grace_period, self.reduction_factor)

    @property
    def reports(self) -> tuple[int, ...]:
        """When a trial reports, the end included; at least a step of the largest batch lies between two."""
        rungs = [at for at in self.rungs if at <= self.images - self.batch_size]
        between = [
            at
            for at in range(self.interval, self.images - self.batch_size + 1, self.interval)
            if all(abs(at - rung) >= self.batch_size for rung in rungs)
        ]
        return tuple(sorted({*rungs, *between, self.images}))

    @property
    def quick_until(self) -> int:
        """Reports before so many images are quick looks, with a part of the validation images."""
        return min(self.interval, self.images)


def rungs_below(budget: int, grace_period: int, reduction_factor: float) -> tuple[int, ...]:
    """Return where trials are judged, ``grace_period * reduction_factor**k < budget``.

    Raises
    ------
    UsageError
        A value is out of range, or no rung lies below the full budget, so that nothing could ever be stopped.
    """
    if grace_period < 1:
        raise UsageError(f"grace_period must be >= 1, got {grace_period}")
    if not 1 < reduction_factor < math.inf:
        raise UsageError(f"reduction_factor must be > 1, got {reduction_factor:g}")
    if grace_period >= budget:
        raise UsageError(
            f"grace_period must be < the budget, got {grace_period} and {budget}: nothing can be stopped"
        )
    rungs: list[int] = []
    at = float(grace_period)
    while round(at) < budget:  # multiplied step by step: logarithms miss rungs (27, 1, 3) by rounding
        if not rungs or round(at) > rungs[-1]:
            rungs.append(round(at))
        at *= reduction_factor
    return tuple(rungs)


def rung_cutoff(values: Iterable[float], reduction_factor: float) -> float:
    """Return the worst of the best ``1 / reduction_factor`` values, of which there is always one.

    Larger values are better.
    """
    ranked = sorted(values, reverse=True)
    return ranked[max(1, int(len(ranked) / reduction_factor)) - 1]
