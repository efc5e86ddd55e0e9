"""Which hyperparameters a search varied, and over which values: `study.json`'s space beside the trials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.analysis.results import Results
from tune.space.display import value_text
from tune.storage.tables import CONFIG_PREFIX
from vae.errors import StorageError


@dataclass(frozen=True, slots=True)
class Branch:
    """Where one hyperparameter's values come from while others have the values in ``when``."""

    choices: tuple[Any, ...] | None
    """None for a range."""
    low: float
    high: float
    log: bool
    whole: bool
    when: Mapping[str, Any]

    @classmethod
    def from_record(cls, record: Any) -> "Branch":
        """Read an entry of the space as people write it; `tune/space.yaml` explains the syntax."""
        if not isinstance(record, dict):
            record = {"value": record}
        when = record.get("when", {})
        try:
            dict(when)
            for kind in ("float", "int"):
                if kind in record:
                    low, high = map(float, record[kind])
                    return cls(None, low, high, bool(record.get("log", False)), kind == "int", when)
            choices = record["choice"] if "choice" in record else [record["value"]]
            values = tuple(map(_scalar, choices))
            hash(values)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise StorageError(f"study.json has {record!r:.200} in its space, which is no range") from error
        return cls(values, np.nan, np.nan, log=False, whole=False, when=when)

    def applies(self, trial: Mapping[str, Any]) -> bool:
        """Return whether its condition holds for a row of `trials`."""
        return all(
            trial.get(CONFIG_PREFIX + name) in (values if isinstance(values, list) else [values])
            for name, values in self.when.items()
        )

    def __contains__(self, value: Any) -> bool:
        if value is None or self.choices is not None:
            return value in (self.choices or ())
        return bool(self.low <= value <= self.high)


@dataclass(frozen=True, slots=True)
class SearchedParam:
    """A hyperparameter of which the trials have different values."""

    name: str
    branches: tuple[Branch, ...]
    """Of which the first that applies counts."""
    values: tuple[Any, ...]
    """One for each of `Results.trial_rows`; None where another hyperparameter switches it off."""

    @property
    def log(self) -> bool:
        """Whether it was drawn on a logarithmic scale."""
        return any(branch.log for branch in self.branches)

    @property
    def choices(self) -> list[Any] | None:
        """Everything that it could be, numbers in order; None if it is drawn from a range."""
        if any(branch.choices is None for branch in self.branches):
            return None
        known = [value for branch in self.branches for value in branch.choices or ()]
        # The space of a study may have been another when its first trials were drawn.
        known = list(dict.fromkeys([*known, *(value for value in self.values if value is not None)]))
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
        return sorted(known) if numbers else known

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest number that it could be."""
        numbers = [value for value in self.values if value is not None]
        for branch in self.branches:
            numbers += [branch.low, branch.high] if branch.choices is None else branch.choices
        return float(min(numbers)), float(max(numbers))


def searched_params(results: Results) -> list[SearchedParam]:
    """Return the hyperparameters that were searched and have at least two values, in the space's order."""
    found = []
    for name, record in (results.study.space if results.study else {}).items():
        if CONFIG_PREFIX + name not in results.trials:  # where to start, which is no hyperparameter
            continue
        several = isinstance(record, list) and all(isinstance(entry, dict) for entry in record)
        branches = tuple(Branch.from_record(entry) for entry in (record if several else [record]))
        values = tuple(_scalar(row[CONFIG_PREFIX + name]) for row in results.trial_rows)
        if len(set(values) - {None}) > 1:
            found.append(SearchedParam(name, branches, values))
    return found


def _scalar(value: Any) -> Any:
    """Return a value that can be compared: lists, such as of milestones, as text."""
    return value_text(value) if isinstance(value, list | tuple | np.ndarray) else value
