"""The search space: hyperparameters with their domains and conditions, sampled define-by-run by Optuna."""

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from vae.config import Config, check_param_name
from vae.errors import UsageError
from vae.training.loop import check_fit


class Suggests(Protocol):
    """The part of `optuna.trial.BaseTrial` that a space needs."""

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...
    def suggest_float(self, name: str, low: float, high: float, *, step: Any, log: bool) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...


MAX_EXAMPLES = 64
"""Whole-number ranges up to this size are checked value by value."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values; a constant is a choice of one."""

    values: tuple[Any, ...]

    def suggest(self, trial: Suggests, name: str) -> Any:
        if len(self.values) == 1:  # nothing to search: Optuna need not know
            return self.values[0]
        labels = [self.to_optuna(value) for value in self.values]
        return self.values[labels.index(trial.suggest_categorical(name, labels))]

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"

    @staticmethod
    def to_optuna(value: Any) -> Any:
        return json.dumps(value) if isinstance(value, list) else value  # Optuna stores scalars only

    @property
    def examples(self) -> tuple[Any, ...]:
        return self.values

    def identity(self, value: Any) -> Hashable:
        """Return what is equal for equal values."""
        return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Range:
    """Every number from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool
    step: float | None
    whole: bool

    def suggest(self, trial: Suggests, name: str) -> Any:
        if self.whole:
            return trial.suggest_int(
                name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log
            )
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def __contains__(self, value: Any) -> bool:
        return is_number(value, self.whole) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"between {self.low} and {self.high}"

    @staticmethod
    def to_optuna(value: Any) -> Any:
        return value

    @property
    def examples(self) -> tuple[Any, ...]:
        if (
            self.whole and self.high - self.low < MAX_EXAMPLES
        ):  # a value in the middle may be wrong, as even windows
            return tuple(range(int(self.low), int(self.high) + 1, int(self.step or 1)))
        return (self.low, self.high)

    @property
    def values(self) -> Sequence[Any] | None:
        """Every number; None of a continuous range."""
        if self.whole:
            return range(int(self.low), int(self.high) + 1, int(self.step or 1))
        if self.step is None:
            return None
        low, step = Decimal(str(self.low)), Decimal(str(self.step))
        n_steps = int((Decimal(str(self.high)) - low) / step)
        return [float(low + i * step) for i in range(n_steps + 1)]

    def identity(self, value: Any) -> Hashable:
        """Return what is equal for equal values; those on a step are, whatever rounding has done to them."""
        if self.whole or self.step is None:
            return float(value)
        steps = (value - self.low) / self.step
        return ("step", round(steps)) if abs(steps - round(steps)) < 1e-6 else float(value)


@dataclass(frozen=True, slots=True)
class Branch:
    """A domain, and the values of other hyperparameters for which it applies."""

    domain: Choice | Range
    when: dict[str, tuple[Any, ...]]

    def applies(self, params: Mapping[str, Any]) -> bool:
        return all(params.get(name) in values for name, values in self.when.items())


@dataclass(frozen=True, slots=True)
class Space:
    """Hyperparameter names with their branches (the first that applies counts), and points to start from."""

    entries: dict[str, tuple[Branch, ...]]
    start: tuple[dict[str, Any], ...]
    source: dict[str, Any]
    """The YAML as it was read, for the record."""
    n_warm: int = 0
    """How many points of ``start``, the first ones, are from another study."""

    def sample(self, trial: Suggests) -> dict[str, Any]:
        """Draw params: every hyperparameter that applies, constants included."""
        params: dict[str, Any] = {}
        for name, optuna_name, branch in self.walk(params):
            params[name] = branch.domain.suggest(trial, optuna_name)
        return params

    def to_optuna(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is given of a configuration as `optuna.Study.enqueue_trial` wants it."""
        seen: dict[str, Any] = {}
        point: dict[str, Any] = {}
        for name, optuna_name, branch in self.walk(seen):
            if name in params:
                seen[name] = params[name]
                point[optuna_name] = branch.domain.to_optuna(params[name])
        return point

    def applicable(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values, None left out, of the hyperparameters that apply where the others are set."""
        params: dict[str, Any] = {}
        for name, _, branch in self.walk(params):
            value = values.get(name)
            params[name] = branch.domain.examples[0] if value is None else value
        return {name: value for name, value in params.items() if values.get(name) is not None}

    @property
    def searched(self) -> frozenset[str]:
        """Names that can take more than one value."""
        return frozenset(
            name
            for name, branches in self.entries.items()
            if len({value for branch in branches for value in map(str, branch.domain.examples)}) > 1
        )

    def walk(self, params: Mapping[str, Any]) -> Iterator[tuple[str, str, Branch]]:
        """Yield (name, Optuna's name, branch) in order. The caller fills ``params``, which decide.

        Branches of one hyperparameter have different domains, which Optuna does not allow under one name.
        """
        for name, branches in self.entries.items():
            for number, branch in enumerate(branches):
                if branch.applies(params):
                    yield name, name if len(branches) == 1 else f"{name}:{number + 1}", branch
                    break

    def _complete(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for name, _, branch in self.walk(params):
            params[name] = wanted.get(name, branch.domain.examples[0])
        return params

    def _conditions(self, branch: Branch) -> dict[str, Any]:
        """Return values under which a branch applies, those above its parents included."""
        wanted: dict[str, Any] = {}
        for parent, values in branch.when.items():
            above = next((b for b in self.entries[parent] for v in values if v in b.domain), None)
            if above is None:
                raise UsageError(f"{parent} is never {' or '.join(map(str, values))}, as `when` wants it")
            wanted |= self._conditions(above) | {
                parent: next(value for value in values if value in above.domain)
            }
        return wanted

    def check(self) -> None:
        """Raise a UsageError if any value in the space or in ``start`` cannot be trained."""
        list(self._configs())
        for number, point in enumerate(self.start, start=1):
            for name in point:
                check_param_name(str(name))
            params: dict[str, Any] = {}
            for name, _, branch in self.walk(params):
                params[name] = point.get(name, branch.domain.examples[0])
                if params[name] not in branch.domain:
                    raise UsageError(f"start {number}: {name} must be {branch.domain}, got {params[name]!r}")
            unused = [name for name in point if name not in params]
            if unused:
                raise UsageError(
                    f"start {number}: {unused[0]} is not searched there; take it out or add it to the space"
                )

    def check_fit(self, image_shape: tuple[int, int, int], n_train: int, n_classes: int = 0) -> None:
        """Raise a UsageError if a value cannot be used with these images; 0 classes: they have no labels."""
        try:
            for config in self._configs():
                check_fit(config, image_shape, n_train, n_classes)
        except UsageError as error:
            raise UsageError(f"{error}; give a --space with values that fit these images") from None

    def _configs(self) -> Iterator[Config]:
        """Yield configs in which each branch's examples occur; what the space leaves out has its default."""
        losses = self.entries.get("reconstruction_loss", ())
        for name, branches in self.entries.items():
            for branch in branches:
                wanted = self._conditions(branch)
                if name == "ssim_window" and any("ssim" in loss.domain for loss in losses):
                    wanted = {"reconstruction_loss": "ssim"} | wanted  # where alone the window counts
                for value in branch.domain.examples:
                    yield Config.from_params(self._complete({**wanted, name: value}))


def is_number(value: Any, whole: bool) -> bool:
    """Whether a value is a finite number, and a whole one if it must be."""
    kinds = (int,) if whole else (int, float)
    return (
        isinstance(value, kinds)
        and not isinstance(value, bool)
        and abs(value) != float("inf")
        and value == value
    )
