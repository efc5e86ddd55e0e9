"""How the learning rate and the KL weight change in the course of a training: pure functions of progress."""

from math import cos, pi

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
MILESTONE_FACTOR = 0.1


def learning_rate_factor(schedule: str, progress: float, milestones: tuple[float, ...] = ()) -> float:
    """Return the factor on the peak learning rate.

    Parameters
    ----------
    schedule
        ``constant``; ``milestones`` (÷ 10 at each); ``cosine`` (to 0, Loshchilov & Hutter 2017,
        arXiv:1608.03983); ``one_cycle`` (rise over 30 %, then cosine to 0, Smith & Topin 2018,
        arXiv:1708.07120).
    progress
        The fraction of the full budget that is done, 0 to 1.
    milestones
        Fractions of the full budget.
    """
    if schedule == "milestones":
        return float(MILESTONE_FACTOR ** sum(progress >= m for m in milestones))
    if schedule == "cosine":
        return 0.5 * (1 + cos(pi * progress))
    if schedule == "one_cycle":
        if progress < ONE_CYCLE_RISE:
            return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * progress / ONE_CYCLE_RISE
        return 0.5 * (1 + cos(pi * (progress - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE)))
    return 1.0


def kl_warmup_factor(epochs_done: float, kl_warmup_epochs: float) -> float:
    """Return the factor on the KL weight, linear from 0 to 1 over the warm-up.

    Bowman et al. 2016, arXiv:1511.06349.
    """
    return min(1.0, epochs_done / kl_warmup_epochs) if kl_warmup_epochs > 0 else 1.0
