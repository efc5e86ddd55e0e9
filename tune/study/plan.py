"""What a search is asked for: each argument with its default, its rule and its help, spelled once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from tune.algorithms.budget import DEFAULT_BUDGET, FIRST_RUNG, Budget
from tune.algorithms.objective import LABELLED_DEFAULT, MODES, UNLABELLED_DEFAULT
from tune.algorithms.samplers import SAMPLERS, check_sampler
from tune.algorithms.stopping_rules import SCHEDULERS, StoppingRule, make_rule
from tune.space.configurations import continuous
from tune.space.domains import Space
from tune.space.file import DEFAULT_SPACE, load_space, parse_space
from tune.storage.filesystems import parse_location
from tune.storage.study_record import StudyRecord
from tune.study.rules import POSITIVE, Rule, duration, whole
from vae.config import TrainingConfig
from vae.data.resize import MAX_SIDE, MIN_SIDE
from vae.errors import StorageError, UsageError

WHAT, HOW_LONG, WHERE = "what to search", "how long", "where"
"""The groups of the command's help."""


def _param(default: Any, group: str, help: str, *, rule: Rule | None = None, flag: str = "") -> Any:
    """A field whose description also serves the command line; None as default allows None."""
    return field(default=default, metadata={"group": group, "help": help, "rule": rule, "flag": flag})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a search is asked for; None means: as the data or the cluster suggests."""

    dataset: str = _param("fmnist", WHAT, "fmnist, mnist, digits, or a path to images (%(default)s)")
    data_dir: Path | None = _param(None, WHAT, "where data sets are kept ($VAE_DATA_DIR or ./data)")
    resize: int | None = _param(
        None,
        WHAT,
        f"scale each image's shorter side to N pixels, {MIN_SIDE} to {MAX_SIDE}, and cut out the middle "
        "(without it all must have one size)",
        rule=Rule(whole=True, minimum=MIN_SIDE, maximum=MAX_SIDE),
    )
    space: Space = _param(None, WHAT, "YAML search space (tune/space.yaml)")
    objectives: tuple[str, ...] | None = _param(
        None,
        WHAT,
        f"one of {', '.join(MODES)} ({LABELLED_DEFAULT}; without labels {UNLABELLED_DEFAULT}); give it twice "
        "for a Pareto front, weak trials are stopped by the first, which must be a measured one",
        flag="objective",
    )
    start: bool = _param(True, WHAT, "leave the starting points of the space out", flag="no-start")
    warm_start: str | Path | None = _param(
        None, WHAT, "try the best configurations of another study first; its directory or URI"
    )
    seed: int = _param(0, WHAT, "seed of splits, proposals and trials (%(default)s)", rule=whole(0))

    trials: int = _param(100, HOW_LONG, "configurations to try (%(default)s)", rule=whole(1))
    budget: int | None = _param(
        None,
        HOW_LONG,
        f"full budget of a trial: training images it sees, each as often as it comes ({DEFAULT_BUDGET})",
        rule=whole(1),
    )
    max_epochs: float | None = _param(
        None, HOW_LONG, "the same in epochs, such as 8 or 0.5, in place of --budget", rule=POSITIVE
    )
    grace_period: float | None = _param(
        None,
        HOW_LONG,
        f"epochs before a trial can be stopped, such as 0.125 (the budget divided by {FIRST_RUNG})",
        rule=POSITIVE,
    )
    reduction_factor: float = _param(
        8.0,
        HOW_LONG,
        "one of so many trials continues beyond a rung (%(default)g)",
        rule=Rule(whole=False, minimum=1, above=True),
    )
    time_budget_s: float | None = _param(
        None,
        HOW_LONG,
        "end all of it, the evaluation included, within for example 90s, 30m or 1h30m",
        rule=POSITIVE,
        flag="time-budget",
    )
    patience: int | None = _param(
        None,
        HOW_LONG,
        "end when so many trials in a row brought no better best (no such end)",
        rule=whole(1),
    )
    target: float | None = _param(
        None,
        HOW_LONG,
        "end when a fully trained trial reaches this value of the (first) objective (no such end)",
        rule=Rule(whole=False),
    )
    sampler: str = _param("tpe", HOW_LONG, f"one of {', '.join(SAMPLERS)} (%(default)s)")
    scheduler: str = _param(
        "asha", HOW_LONG, f"what stops weak trials: {', '.join(SCHEDULERS)} (%(default)s)"
    )
    min_active_units: int = _param(
        1,
        HOW_LONG,
        "a trial with fewer active latent dimensions after the grace period has collapsed and is stopped "
        "(%(default)s)",
        rule=whole(0),
    )
    finalists: int = _param(3, HOW_LONG, "best trials that are evaluated (%(default)s)", rule=whole(1))
    finalists_per_dim: bool = _param(
        False, HOW_LONG, "evaluate the best trial of each other latent dimension too"
    )
    finalist_seeds: int = _param(
        0,
        HOW_LONG,
        "train each finalist anew with so many fresh seeds, for an interval (%(default)s)",
        rule=whole(0),
    )
    evaluate: bool = _param(True, HOW_LONG, "leave the evaluation out", flag="no-evaluate")

    name: str | None = _param(None, WHERE, "name of the run (<dataset>-<time>)")
    storage: str | Path = _param(
        "runs", WHERE, "directory of all runs, or a URI such as s3://bucket/prefix (%(default)s)"
    )
    cpus_per_trial: float | None = _param(None, WHERE, "CPUs of a trial, also its threads (1)", rule=POSITIVE)
    gpus_per_trial: float | None = _param(
        None,
        WHERE,
        "share of a GPU (where there are any: as measured with the largest model of the space)",
        rule=Rule(whole=False, minimum=0),
    )
    max_concurrent: int | None = _param(None, WHERE, "trials at once (as many as fit)", rule=whole(1))

    def __post_init__(self) -> None:
        given: Any = self  # what callers hand in may still be text, a list or a dict
        if isinstance(given.time_budget_s, str):
            self._set("time_budget_s", duration(given.time_budget_s))
        for f in fields(self):
            rule, value = f.metadata["rule"], getattr(self, f.name)
            if rule and not (value is None and f.default is None):
                self._set(f.name, rule.check(f.metadata["flag"].replace("-", "_") or f.name, value))
        if self.budget is not None and self.max_epochs is not None:
            raise UsageError(
                f"budget and max_epochs say the same, in images and in epochs: got {self.budget} and "
                f"{self.max_epochs:g}; give one of them"
            )
        self._set("storage", parse_location(str(self.storage)))
        if self.warm_start is not None:
            self._set("warm_start", parse_location(str(self.warm_start)))
        if self.data_dir is not None:
            self._set("data_dir", Path(self.data_dir))
        if self.objectives is not None:
            names = (given.objectives,) if isinstance(given.objectives, str) else tuple(given.objectives)
            self._set("objectives", names or None)
        self._set("space", _space(given.space))
        check_sampler(self.sampler, len(self.objectives or ("",)), continuous(self.space))
        if self.scheduler not in SCHEDULERS:
            raise UsageError(f"the scheduler must be one of {', '.join(SCHEDULERS)}, got '{self.scheduler}'")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def choose_budget(self, n_train: int) -> Budget:
        """Return the budget of a trial with so many training images.

        Raises
        ------
        UsageError
            The numbers do not go together.
        """
        branches = self.space.entries.get("batch_size", ())
        sizes = [size for branch in branches for size in branch.domain.examples]
        return Budget.choose(
            images=self.budget,
            max_epochs=self.max_epochs,
            grace_period=self.grace_period,
            n_train=n_train,
            batch_size=int(max(sizes, default=TrainingConfig().batch_size)),
            reduction_factor=self.reduction_factor,
            has_rungs=self.scheduler in ("asha", "hyperband"),
        )

    def make_rule(self, budget: Budget) -> StoppingRule | None:
        """Return the rule that stops weak trials."""
        return make_rule(
            self.scheduler,
            budget=budget.images,
            grace_period=budget.grace_period,
            reduction_factor=self.reduction_factor,
        )

    @property
    def most_finalists(self) -> int:
        """How many finalists there can be."""
        if not self.finalists_per_dim:
            return self.finalists
        dims = {dim for branch in self.space.entries.get("latent_dim", ()) for dim in branch.domain.examples}
        return min(self.trials, self.finalists + max(0, len(dims) - 1))

    def arguments(self, budget: Budget) -> dict[str, Any]:
        """Return the plan as JSON values, with the budget that was chosen; the space has a place of its own.

        What older versions do not know is left out unless it was asked for.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "space"}
        values |= {"budget": budget.images, "max_epochs": budget.max_epochs}
        values["grace_period"] = budget.epochs(budget.grace_period)
        usual = {f.name for f in fields(self) if f.name in _LATER and values[f.name] == f.default}
        values = {name: value for name, value in values.items() if name not in usual}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

    @classmethod
    def from_record(cls, record: StudyRecord) -> Self:
        """Return the plan that `study.json` records.

        Raises
        ------
        StorageError
            It was written by another version, which asked for other things.
        """
        values = record.arguments | {"objectives": tuple(record.objectives), "space": record.space}
        if "budget" in values:  # an older version knows epochs alone
            del values["max_epochs"]
        try:
            return cls(**values)
        except TypeError as error:
            raise StorageError(f"study.json was written by another version: {error}") from error


_LATER = ("resize", "start", "patience", "target")
"""What older versions do not know."""


def _space(space: Any) -> Space:
    if isinstance(space, Space):
        return space
    if isinstance(space, Mapping):
        return parse_space(dict(space))
    if space is not None and not isinstance(space, str | Path):
        raise UsageError(f"space must be a path or a dict, got {space!r}")
    return load_space(Path(space or DEFAULT_SPACE))
