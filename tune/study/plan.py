"""What a search is asked for, checked as far as that is possible without data or cluster."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tune.algorithms.samplers import check_sampler
from tune.algorithms.stopping_rules import StoppingRule, make_rule
from tune.space.domains import Space
from tune.space.file import parse_space
from tune.storage.filesystems import parse_location
from tune.storage.study_record import StudyRecord
from vae.errors import StorageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a search is asked for; None means: as the data or the cluster suggests."""

    dataset: str
    data_dir: Path | None
    name: str | None
    storage: str | Path
    trials: int
    max_epochs: int
    grace_period: int
    reduction_factor: float
    scheduler: str
    min_active_units: int
    space: Space
    objectives: tuple[str, ...] | None
    sampler: str
    seed: int
    warm_start: str | Path | None
    finalists: int
    finalist_seeds: int
    evaluate: bool
    cpus_per_trial: float | None
    gpus_per_trial: float | None
    max_concurrent: int | None
    time_budget_s: float | None

    def __post_init__(self) -> None:
        check_sampler(self.sampler, len(self.objectives or ("",)))
        self.make_rule()

    def make_rule(self) -> StoppingRule | None:
        """Return the rule that stops weak trials.

        Raises
        ------
        UsageError
            The numbers do not go together.
        """
        return make_rule(
            self.scheduler,
            max_epochs=self.max_epochs,
            grace_period=self.grace_period,
            reduction_factor=self.reduction_factor,
        )

    def arguments(self) -> dict[str, Any]:
        """Return the plan as JSON values; the space has its own place in `study.json`."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "space"}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

    @classmethod
    def from_record(cls, record: StudyRecord) -> Self:
        """Return the plan that `study.json` records.

        Raises
        ------
        StorageError
            It was written by another version, which asked for other things.
        """
        values = dict(record.arguments)
        try:
            for name in ("data_dir", "storage", "warm_start"):
                values[name] = None if values[name] is None else parse_location(values[name])
            values["objectives"] = tuple(record.objectives)
            return cls(**values, space=parse_space(record.space))
        except (KeyError, TypeError) as error:
            raise StorageError(f"study.json was written by another version: {error}") from error
