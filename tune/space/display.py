"""How the terminal, figures and the report write hyperparameters, their values, shares and times."""

import math
from typing import Any

import numpy as np

SHOWN_PARAMS = (
    "architecture",
    "latent_dim",
    "reconstruction_loss",
    "kl_weight",
    "learning_rate",
    "batch_size",
)
"""Hyperparameters that the tables of trials show."""
_PARAM_NAMES = {
    "latent_dim": "latent dim",
    "reconstruction_loss": "loss",
    "kl_weight": "KL weight",
    "kl_warmup_epochs": "KL warm-up",
    "batch_size": "batch",
    "ssim_window": "SSIM window",
}


def param_name(name: str) -> str:
    """Return a hyperparameter as a heading has it."""
    return _PARAM_NAMES.get(name, name.replace("_", " "))


def value_text(value: Any) -> str:
    """Return the value of a hyperparameter; None where another one switches it off."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(map(value_text, value)) or "–"
    return str(value)


def percent(share: float, decimals: int = 1) -> str:
    """Return a share in percent.

    Examples
    --------
    >>> percent(0.875)
    '87.5 %'
    """
    return f"{100 * share:.{decimals}f} %"


def duration_text(seconds: float | None) -> str:
    """Return a time in the unit that suits it; None and what is not finite were not measured.

    Examples
    --------
    >>> duration_text(99), duration_text(200), duration_text(600), duration_text(9000), duration_text(500_000)
    ('99 s', '3.3 min', '10 min', '2.5 h', '6 days')
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    minutes = seconds / 60
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 9.95:
        return f"{minutes:.1f} min"
    if minutes < 100:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"
