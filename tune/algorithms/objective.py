"""What a search may optimise, in which direction, and when that would mislead."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from vae.errors import UsageError

Mode = Literal["min", "max"]

MODES: dict[str, Mode] = {
    "val_knn_accuracy": "max",
    "val_neighbour_recall": "max",
    "val_rankme": "max",
    "val_ssim": "max",
    "val_psnr": "max",
    "val_mse": "min",
    "val_loss": "min",
    "latent_dim": "min",
    "n_parameters": "min",
}

LABELLED_DEFAULT, UNLABELLED_DEFAULT = "val_knn_accuracy", "val_neighbour_recall"
"""What a search maximises by default, of images with labels and of such without."""

SIZES = {"latent_dim": "config_latent_dim", "n_parameters": "n_parameters"}
"""Objectives that are known before training, only beside a measured one, and their columns of `trials`."""

METRIC_NAMES = {
    "val_knn_accuracy": "KNN accuracy",
    "val_neighbour_recall": "neighbour recall",
    "val_rankme": "RankMe",
    "val_ssim": "SSIM",
    "val_mse": "mean squared error",
    "val_psnr": "PSNR in dB",
    "val_loss": "loss",
    "latent_dim": "latent dimensions",
    "n_parameters": "parameters",
}
"""The metrics that can be an objective, as a reader calls them."""

RANGES = {
    "val_knn_accuracy": (0.0, 1.0),
    "val_neighbour_recall": (0.0, 1.0),
    "val_ssim": (-1.0, 1.0),
    "val_mse": (0.0, 1.0),
}
"""The least and the greatest value of a metric, where it has both."""

_CHANGE_THE_SCALE = (
    *("reconstruction_loss", "image_weight", "kl_weight", "free_bits", "balance_losses", "ssim_window"),
    "learned_variance",
)
"""Of one and the same model ``val_loss`` has another value with another one of these."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What every trial reports each epoch, and its better direction."""

    name: str
    mode: Mode

    @property
    def sign(self) -> float:
        """1 or -1: times a value, larger is better."""
        return 1.0 if self.mode == "max" else -1.0

    def better(self, value: float, than: float | None) -> bool:
        """Whether ``value`` beats the best so far (None: nothing yet); not finite never does."""
        if not abs(value) < float("inf"):
            return False
        return than is None or (value > than if self.mode == "max" else value < than)

    def reaches(self, value: float, target: float) -> bool:
        """Whether ``value`` is at least as good as a target."""
        return self.sign * value >= self.sign * target

    def best(self, rows: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
        """Return the first of the best rows of the `trials` table, None if none has an objective."""
        best: dict[str, Any] | None = None
        for row in rows:
            value = row["objective"]
            if value is not None and self.better(value, best["objective"] if best else None):
                best = row
        return best


def choose_objectives(
    names: Sequence[str] | None, *, labelled: bool, searched: Set[str]
) -> tuple[Objective, ...]:
    """Check the objectives asked for; the first is the one by which trials are stopped and ranked.

    Raises
    ------
    UsageError
        As `choose_objective`, one is named twice, or the first is one of `SIZES`.
    """
    names = names or [None]  # type: ignore[list-item]
    if names[0] in SIZES:
        default = LABELLED_DEFAULT if labelled else UNLABELLED_DEFAULT
        raise UsageError(
            f"the first objective stops and ranks trials and must be measured, got '{names[0]}', which is "
            f"known before training; say --objective {default} --objective {names[0]}"
        )
    if len(set(names)) < len(names):
        raise UsageError(f"each objective can be named once, got {', '.join(names)}")
    return tuple(choose_objective(name, labelled=labelled, searched=searched) for name in names)


def check_target(target: float | None, objective: Objective) -> None:
    """Raise a UsageError if no value of an objective can be the target, or if all are as good."""
    low, high = RANGES.get(objective.name, (float("-inf"), float("inf")))
    if target is not None and not low <= target <= high:
        raise UsageError(
            f"target must be between {low:g} and {high:g}, the values that {objective.name} can have, "
            f"got {target:g}"
        )


def pareto_front(values: Sequence[Sequence[float]], objectives: Sequence[Objective]) -> list[bool]:
    """Tell for each row of values, one per objective, whether no other row beats it in all of them.

    A row is beaten by one that is at least as good everywhere and better somewhere.
    """
    signed = [tuple(o.sign * v for o, v in zip(objectives, row, strict=True)) for row in values]

    def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return one != other and all(a >= b for a, b in zip(one, other, strict=True))

    return [not any(beats(other, row) for other in signed) for row in signed]


def choose_objective(name: str | None, *, labelled: bool, searched: Set[str]) -> Objective:
    """Check the objective asked for, or choose the default.

    Parameters
    ----------
    name
        What the user asked for; None takes `LABELLED_DEFAULT`, or `UNLABELLED_DEFAULT` without labels.
    labelled
        Whether the images have labels.
    searched
        Names of the hyperparameters that the space varies.

    Raises
    ------
    UsageError
        The metric is unknown, needs labels that are not there, or does not compare the trials.
    """
    if name is None:
        name = LABELLED_DEFAULT if labelled else UNLABELLED_DEFAULT
    if name not in MODES:
        close = get_close_matches(name, MODES, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise UsageError(f"the objective must be one of {', '.join(MODES)}, got '{name}'{hint}")
    if name == "val_knn_accuracy" and not labelled:
        raise UsageError(
            f"val_knn_accuracy needs labels and this dataset has none; use --objective {UNLABELLED_DEFAULT}"
        )
    scale = [param for param in _CHANGE_THE_SCALE if param in searched]
    if name == "val_loss" and scale:
        names = " and ".join(scale)
        raise UsageError(
            f"val_loss does not compare trials while {names} change what it measures: a search would pick "
            f"a scale; use --objective val_knn_accuracy, or fix {names} in the space"
        )
    return Objective(name, MODES[name])
