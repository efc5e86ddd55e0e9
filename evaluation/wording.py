"""How the terminal, the figures and the report write what several of them show."""

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


def points(share: float) -> str:
    """Return a difference of two shares in percentage points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")


def p_value(p: float) -> str:
    """Return a p-value as papers give it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


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
