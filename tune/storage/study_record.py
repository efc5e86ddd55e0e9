"""What `study.json` says about a study: the one place that knows its keys, also those of older files."""

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Self, get_origin

from tune.storage.json_record import JsonRecord
from vae.errors import StorageError


class StudyStatus(StrEnum):
    """What a study is doing, or how its last session ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    """Nothing remains to be done: all trials were run, or all configurations tried, or the target reached."""
    PLATEAU = "plateau"
    """The patience has ended the search; nothing remains to be done either."""
    INTERRUPTED = "interrupted"
    TIME_BUDGET = "time_budget"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether the study is over: there is nothing to resume, and it can be extended."""
        return self in (StudyStatus.COMPLETED, StudyStatus.PLATEAU)


@dataclass(slots=True, kw_only=True)
class DatasetRecord:
    """The images of a study: what `vae.data.load_dataset` takes to find them, and what they must be."""

    name: str = ""
    path: str = ""
    data_dir: str | None = None
    fingerprint: str = ""
    n_train: int = 0
    """Images that its trials train on; 0 in a file of an older version."""
    n_test: int = 0
    resize: int | None = None
    """Pixels a side to which they were resized; the file lacks it if they were not."""


@dataclass(slots=True, kw_only=True)
class StudyRecord(JsonRecord):
    """Everything that `study.json` keeps; a default is what an older file means that lacks the key.

    ``arguments`` are those of the `tune.study.plan.Plan`, ``space`` is the search space as its YAML file has
    it, ``profile`` what was measured to share a GPU, ``sessions`` one entry for each driver that has worked
    on the study.
    """

    name: str
    status: StudyStatus = StudyStatus.RUNNING
    end_reason: str | None = None
    """Why the search has ended before its last trial, in a sentence without its full stop."""
    created_at: str | None = None
    extended_at: str | None = None
    """When the last extension began: its patience counts from then."""
    finished_at: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    dataset: DatasetRecord = field(default_factory=DatasetRecord)
    objectives: list[str] = field(default_factory=lambda: ["val_knn_accuracy"])
    modes: list[str] = field(default_factory=lambda: ["max"])
    """The better direction of each objective: min or max."""
    space: dict[str, Any] = field(default_factory=dict)
    n_warm: int = 0
    """How many starting points of the space, the first ones, are from another study."""
    knn_references: int | None = None
    knn_queries: int | None = None
    """Validation images of which the KNN accuracy is the share."""
    code: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, Any] = field(default_factory=dict)
    sessions: list[dict[str, Any]] = field(default_factory=list)
    resources: dict[str, Any] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    """Keys that another version wrote, kept as they are."""

    @property
    def seed(self) -> int:
        return int(self.arguments.get("seed", 0))

    @property
    def max_epochs(self) -> float:
        """The full budget of a trial in epochs; of a file that does not say it, a StorageError."""
        try:
            return self.arguments["max_epochs"] + 0
        except KeyError as error:
            raise StorageError(
                f"study.json of {self.name} does not say {error}; it was written by another version"
            ) from error

    @property
    def previous_budget(self) -> float | None:
        """The budget in epochs that was completed before an extension to `max_epochs`, if there was one."""
        budgets = (
            session.get("max_epochs", 0)
            for session in self.sessions
            if session.get("status") in (StudyStatus.COMPLETED, StudyStatus.PLATEAU)
        )
        return max((budget for budget in budgets if 0 < budget < self.max_epochs), default=None)

    @property
    def finalists(self) -> int:
        return int(self.arguments.get("finalists", 3))

    @property
    def mode(self) -> str:
        """The better direction of the first objective."""
        return self.modes[0]

    def to_json(self) -> dict[str, Any]:
        """Return what the file holds: also what older readers look for beside ``arguments``."""
        content = asdict(self)
        content |= content.pop("other") | {"objective": content.pop("objectives"), "mode": self.mode}
        content |= {name: self.arguments[name] for name in _ARGUMENTS if name in self.arguments}
        for name, absent in (("resize", None), ("n_train", 0)):
            if content["dataset"][name] == absent:
                del content["dataset"][name]
        return {k: v for k, v in content.items() if k not in _OPTIONAL or v}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        content = dict(content)
        if "name" not in content:
            raise ValueError("it does not name a study")
        beside = {name: content.pop(name) for name in _ARGUMENTS if name in content}
        mode = content.pop("mode", "max")
        content.setdefault("modes", [mode])
        if "objective" in content:
            content["objectives"] = content.pop("objective")
        known = {f.name: f.type for f in fields(cls) if f.name != "other"}
        values = {name: _checked(name, content.pop(name), known[name]) for name in known if name in content}
        values["arguments"] = beside | values.get("arguments", {})
        if not (values["modes"] and values.get("objectives", True)):
            raise ValueError("it names no objective")
        _check_inside(values)
        return cls(**values, other=content)


_ARGUMENTS = ("seed", "max_epochs", "finalists")
"""Arguments that the file has a second time beside the others."""
_OPTIONAL = (
    *("sessions", "resources", "profile", "knn_queries"),
    *("end_reason", "extended_at", "n_warm"),
)
"""What the file lacks until there is something to say."""


def _check_inside(values: dict[str, Any]) -> None:
    """Raise a ValueError if what readers take from lists and mappings is not what they expect."""
    for name in ("objectives", "modes"):
        if odd := [each for each in values.get(name, ()) if not isinstance(each, str)]:
            raise ValueError(f"{name} has {odd[0]!r}")
    for name, kind in _ARGUMENT_TYPES.items():
        if name not in values["arguments"]:
            continue
        value = values["arguments"][name]
        optional = name not in _ARGUMENTS
        if not (optional and value is None) and (not isinstance(value, kind) or isinstance(value, bool)):
            raise ValueError(f"{name} is {value!r}")
    if not isinstance(values.get("code", {}).get("sha", ""), str | NoneType):
        raise ValueError(f"code has {values['code']['sha']!r} as sha")
    gpus = values.get("hardware", {}).get("gpus", [])
    if not isinstance(gpus, list) or not all(isinstance(gpu, str) for gpu in gpus):
        raise ValueError(f"hardware has {gpus!r} as gpus")
    for name in ("created_at", "extended_at", "finished_at"):
        if values.get(name) is not None:
            datetime.fromisoformat(values[name])
    for name, value in values.get("timings", {}).items():
        if not isinstance(value, int | float | NoneType):
            raise ValueError(f"timings has {value!r} as {name}")
    for session in values.get("sessions", ()):
        if not isinstance(session, dict) or not isinstance(session.get("max_epochs", 0), int | float):
            raise ValueError(f"sessions has {session!r}")


_ARGUMENT_TYPES: dict[str, Any] = {
    **dict.fromkeys(("seed", "trials", "budget", "finalists", "finalist_seeds", "patience"), int),
    **dict.fromkeys(("max_epochs", "grace_period", "target", "time_budget_s"), int | float),
}
"""Of what kind the arguments are that readers compute with."""


def _checked(name: str, value: Any, expected: Any) -> Any:
    """Return a value as its field has it; a ValueError if it cannot be that."""
    if expected is StudyStatus:
        return StudyStatus(value)
    if expected is DatasetRecord and isinstance(value, dict):
        known = {f.name: f.type for f in fields(DatasetRecord)}
        return DatasetRecord(**{n: _checked(n, v, known[n]) for n, v in value.items() if n in known})
    kind = expected if isinstance(expected, UnionType) else get_origin(expected) or expected
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {value!r}")
    return value
