"""The configuration of one VAE: one frozen dataclass per concern, checked when it is made."""

from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from math import isfinite
from typing import Any, Self

from vae.errors import UsageError

ARCHITECTURES = ("fc", "fc_conv", "conv", "conv1xn", "unet", "resnet")
RECONSTRUCTION_LOSSES = ("bce", "mse", "ssim")
OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")
SCHEDULES = ("constant", "milestones", "cosine", "one_cycle")
PRECISIONS = ("float32", "bfloat16")
AUGMENTATIONS = ("flip", "shift", "rotate", "noise")
NO_AUGMENTATION = "none"
MOVES = ("flip", "shift", "scale", "rotate", "brightness")
NO_MOVES = "none"
MAX_STRENGTH = 4.0


def _param(default: Any, help: str) -> Any:
    """A dataclass field whose one-line description also serves the command line."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """What the network looks like."""

    architecture: str = _param("fc", f"one of {', '.join(ARCHITECTURES)}")
    latent_dim: int = _param(10, "dimensions of the latent space")
    width: float = _param(1.0, "multiplies the number of hidden units or channels")
    conditional: bool = _param(False, "give the label to encoder and decoder; embeddings do without")
    spherical: bool = _param(False, "keep the latent means on a sphere, where only directions differ")
    learned_variance: bool = _param(False, "learn the variance of each pixel, for the loss mse")

    def __post_init__(self) -> None:
        _one_of("architecture", self.architecture, ARCHITECTURES)
        _at_least("latent_dim", self.latent_dim, 1)
        _positive("width", self.width)
        if self.spherical and self.latent_dim < 2:
            raise UsageError(f"spherical needs latent_dim >= 2, got {self.latent_dim}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """What is minimised: ``image_weight * reconstruction + kl_weight * KL``, in nats per image."""

    reconstruction_loss: str = _param("bce", f"one of {', '.join(RECONSTRUCTION_LOSSES)}")
    image_weight: float = _param(1.0, "weight of the reconstruction loss")
    kl_weight: float = _param(0.1, "weight of the KL divergence (beta); 1 gives the evidence lower bound")
    kl_warmup_epochs: float = _param(0.0, "epochs over which the KL weight rises linearly from 0")
    free_bits: float = _param(0.0, "nats of KL divergence in each latent dimension that cost nothing")
    consistency_weight: float = _param(
        0.0, "weight of the KL divergence of a moved image's posterior from the unmoved one's; needs `moves`"
    )
    balance_losses: bool = _param(False, "scale the KL term to the reconstruction loss by running means")
    ssim_window: int = _param(11, "window of the SSIM loss in pixels, odd")

    def __post_init__(self) -> None:
        _one_of("reconstruction_loss", self.reconstruction_loss, RECONSTRUCTION_LOSSES)
        _positive("image_weight", self.image_weight)
        _at_least("kl_weight", self.kl_weight, 0)
        _at_least("kl_warmup_epochs", self.kl_warmup_epochs, 0)
        _at_least("free_bits", self.free_bits, 0)
        _at_least("consistency_weight", self.consistency_weight, 0)
        _at_least("ssim_window", self.ssim_window, 3)
        if self.ssim_window % 2 == 0:
            raise UsageError(f"ssim_window must be odd, got {self.ssim_window}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How it is minimised."""

    max_epochs: float = _param(20, "epochs of the full budget, such as 20 or 0.5")
    batch_size: int = _param(256, "images per step")
    learning_rate: float = _param(2e-3, "peak learning rate")
    optimizer: str = _param("adam", f"one of {', '.join(OPTIMIZERS)}")
    weight_decay: float = _param(0.0, "weight decay (decoupled for adamw)")
    schedule: str = _param("one_cycle", f"learning rate over the epochs: one of {', '.join(SCHEDULES)}")
    milestones: tuple[int, ...] = _param((), "epochs after which `milestones` divides the rate by 10")
    warmup_steps: int = _param(0, "steps over which the learning rate rises linearly from 0")
    schedule_epochs: tuple[float, ...] = _param(
        (), "epochs after which `cosine` and `one_cycle` end; after each but the last they start anew"
    )
    augment: str = _param(
        NO_AUGMENTATION, f"{NO_AUGMENTATION}, or a comma-separated list of {', '.join(AUGMENTATIONS)}"
    )
    moves: str = _param(
        NO_MOVES,
        f"what the encoder alone sees moved: {NO_MOVES}, or a comma-separated list of {', '.join(MOVES)}",
    )
    move_strength: float = _param(
        1.0, f"1 shifts by a pixel, turns by 5 degrees, scales by 0.05, at most; up to {MAX_STRENGTH:g}"
    )
    precision: str = _param("float32", f"one of {', '.join(PRECISIONS)}; bfloat16 is mixed precision")
    seed: int = _param(0, "seed of weights, batches and latent noise")

    def __post_init__(self) -> None:
        _positive("max_epochs", self.max_epochs)
        # JSON and YAML have no tuples, and whole numbers of epochs are to be written as such.
        object.__setattr__(self, "max_epochs", _tidy(self.max_epochs))
        object.__setattr__(self, "milestones", tuple(self.milestones))
        ends = tuple(map(_tidy, self.schedule_epochs)) or (self.max_epochs,)
        object.__setattr__(self, "schedule_epochs", ends)
        _at_least("batch_size", self.batch_size, 1)
        _positive("learning_rate", self.learning_rate)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _at_least("weight_decay", self.weight_decay, 0)
        _at_least("warmup_steps", self.warmup_steps, 0)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("precision", self.precision, PRECISIONS)
        _names_once("augment", self.augment, self.augmentations, AUGMENTATIONS)
        _names_once("moves", self.moves, self.moved_by, MOVES)
        if not 0 < self.move_strength <= MAX_STRENGTH:
            raise UsageError(f"move_strength must be > 0 and <= {MAX_STRENGTH:g}, got {self.move_strength:g}")
        _at_least("seed", self.seed, 0)
        for name in ("milestones", "schedule_epochs"):
            epochs = getattr(self, name)
            for epoch in epochs:
                _positive(name, epoch)
            if list(epochs) != sorted(set(epochs)):
                raise UsageError(f"{name} must rise, got {list(epochs)}")
        if self.milestones and self.schedule != "milestones":
            raise UsageError(f"milestones need the schedule 'milestones', got '{self.schedule}'")
        if self.schedule == "milestones" and not self.milestones:
            raise UsageError("the schedule 'milestones' needs at least one milestone, got none")

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The names in ``augment``."""
        return () if self.augment == NO_AUGMENTATION else tuple(self.augment.split(","))

    @property
    def moved_by(self) -> tuple[str, ...]:
        """The names in ``moves``."""
        return () if self.moves == NO_MOVES else tuple(self.moves.split(","))


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Everything that defines one training run, apart from the images."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        loss = self.loss.reconstruction_loss
        if self.model.learned_variance and loss != "mse":
            raise UsageError(f"learned_variance needs the reconstruction_loss 'mse', got '{loss}'")
        if self.model.learned_variance and self.loss.balance_losses:
            raise UsageError("learned_variance and balance_losses both set the scale of the loss; choose one")
        if self.loss.consistency_weight and not self.training.moved_by:
            raise UsageError(
                f"consistency_weight {self.loss.consistency_weight:g} needs moves, "
                f"such as 'shift,scale,rotate', got '{NO_MOVES}'"
            )
        if self.training.moved_by and not self.loss.consistency_weight:
            raise UsageError(
                f"moves '{self.training.moves}' need a consistency_weight > 0, such as 0.3, "
                f"got {self.loss.consistency_weight:g}"
            )

    @classmethod
    def from_params(cls, params: dict[str, Any]) -> Self:
        """Build and check a config from the flat dict that a search samples.

        Raises
        ------
        UsageError
            A name is unknown, or a value has the wrong type or is out of range.
        """
        if not isinstance(params, dict):
            raise UsageError(f"hyperparameters must be a mapping from names to values, got {params!r:.100}")
        for name, value in params.items():
            check_param_name(name)
            _check_type(name, value)
        return cls(
            **{
                concern: config_class(
                    **{f.name: params[f.name] for f in fields(config_class) if f.name in params}
                )
                for concern, config_class in _CONCERNS.items()
            }
        )

    def continued(self, max_epochs: float) -> Self:
        """Return the config of this training continued to another budget.

        A schedule that ends with the old budget, or later, starts anew there and ends with the new one: its
        past stays what it was, so that a training from scratch with the new config has the same curve.
        """
        ends = self.training.schedule_epochs
        if self.training.max_epochs <= ends[-1] < max_epochs:
            ends = (*ends, max_epochs)
        return replace(self, training=replace(self.training, max_epochs=max_epochs, schedule_epochs=ends))

    def to_params(self) -> dict[str, Any]:
        """Return every hyperparameter as a flat dict of JSON values."""
        params: dict[str, Any] = {}
        for concern, config_class in _CONCERNS.items():
            for f in fields(config_class):
                value = getattr(getattr(self, concern), f.name)
                params[f.name] = list(value) if isinstance(value, tuple) else value
        return params


_CONCERNS: dict[str, type] = {"model": ModelConfig, "loss": LossConfig, "training": TrainingConfig}

PARAMS = {f.name: f for config_class in _CONCERNS.values() for f in fields(config_class)}
"""Every known hyperparameter: name -> dataclass field (its type, default and ``metadata["help"]``)."""


def epochs_of(images: int, n_train: int) -> float:
    """Return so many training images in epochs, an int if they are whole ones.

    Examples
    --------
    >>> epochs_of(400, 200), epochs_of(50, 200)
    (2, 0.25)
    """
    return images / n_train if images % n_train else images // n_train


def epochs_text(epochs: float) -> str:
    """Return a number of epochs as people write it.

    Examples
    --------
    >>> epochs_text(0.25), epochs_text(8), epochs_text(1604.2)
    ('0.25', '8', '1,604')
    """
    return f"{epochs:,.0f}" if epochs >= 100 else f"{epochs:.3g}"


def check_param_name(name: str) -> None:
    """Raise a UsageError with the closest known name if ``name`` is not a hyperparameter."""
    if name not in PARAMS:
        close = get_close_matches(name, PARAMS, n=1)
        hint = f", did you mean '{close[0]}'?" if close else f", known are {', '.join(PARAMS)}"
        raise UsageError(f"unknown hyperparameter '{name}'{hint}")


def _check_type(name: str, value: Any) -> None:
    expected = PARAMS[name].type
    if expected is int:
        ok = isinstance(value, int) and not isinstance(value, bool)
    elif expected is float:
        ok = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    elif expected in (str, bool):
        ok = isinstance(value, expected)
    else:
        kind = int if expected == tuple[int, ...] else int | float
        ok = isinstance(value, list | tuple) and all(isinstance(v, kind) for v in value)
    if not ok:
        wanted = _TYPE_NAMES[expected]
        raise UsageError(f"{name} must be {wanted}, got {value!r}")


_TYPE_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a finite number",
    str: "a name",
    bool: "true or false",
    tuple[int, ...]: "a list of whole numbers",
    tuple[float, ...]: "a list of numbers",
}


def _tidy(number: float) -> float:
    """Return a whole number as int."""
    return int(number) if number == int(number) else number


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        close = get_close_matches(value, allowed, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise UsageError(f"{name} must be one of {', '.join(allowed)}, got '{value}'{hint}")


def _names_once(name: str, value: str, names: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    for each in names:
        _one_of(name, each, allowed)
    if len(set(names)) < len(names):
        raise UsageError(f"{name} must name each of its kinds once, got '{value}'")


def _at_least(name: str, value: float, minimum: float) -> None:
    if not value >= minimum:
        raise UsageError(f"{name} must be >= {minimum}, got {value}")


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise UsageError(f"{name} must be > 0, got {value}")
