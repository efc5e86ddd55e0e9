"""How the terminal, figures and the report write hyperparameters, their values and shares."""

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
