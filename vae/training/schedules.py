"""How the learning rate and the KL weight change in the course of a training: pure functions of the epoch."""

from collections.abc import Sequence
from math import cos, pi

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
MILESTONE_FACTOR = 0.1


def learning_rate_factor(
    schedule: str, epochs_done: float, schedule_epochs: Sequence[float], milestones: Sequence[int] = ()
) -> float:
    """Return the factor on the peak learning rate.

    Parameters
    ----------
    schedule
        ``constant``; ``milestones`` (÷ 10 at each); ``cosine`` (to 0, Loshchilov & Hutter 2017,
        arXiv:1608.03983); ``one_cycle`` (rise over 30 %, then cosine to 0, Smith & Topin 2018,
        arXiv:1708.07120).
    epochs_done
        Epochs since the start of the training, fractions included.
    schedule_epochs
        Epochs after which ``cosine`` and ``one_cycle`` end, rising. After each but the last they start anew,
        the warm restarts of Loshchilov & Hutter; after the last the factor stays at its final value.
    milestones
        Epochs, rising.
    """
    if schedule == "milestones":
        return float(MILESTONE_FACTOR ** sum(epochs_done >= epoch for epoch in milestones))
    progress = _progress(epochs_done, schedule_epochs)
    if schedule == "cosine":
        return 0.5 * (1 + cos(pi * progress))
    if schedule == "one_cycle":
        if progress < ONE_CYCLE_RISE:
            return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * progress / ONE_CYCLE_RISE
        return 0.5 * (1 + cos(pi * (progress - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE)))
    return 1.0


def _progress(epochs_done: float, schedule_epochs: Sequence[float]) -> float:
    """Return the fraction of the present cycle that is done, 0 to 1."""
    start = 0.0
    for end in schedule_epochs:
        if epochs_done < end:
            return (epochs_done - start) / (end - start)
        start = end
    return 1.0


def warmup_factor(steps_done: int, warmup_steps: int) -> float:
    """Return the factor on the learning rate while it warms up, linear to 1 in the last of these steps.

    Goyal et al. 2017, arXiv:1706.02677.
    """
    return min(1.0, (steps_done + 1) / warmup_steps) if warmup_steps else 1.0


def kl_warmup_factor(epochs_done: float, kl_warmup_epochs: float) -> float:
    """Return the factor on the KL weight, linear from 0 to 1 over the warm-up.

    Bowman et al. 2016, arXiv:1511.06349.
    """
    return min(1.0, epochs_done / kl_warmup_epochs) if kl_warmup_epochs > 0 else 1.0
