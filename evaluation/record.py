"""What `evaluation.json` says about an evaluation: the one place that knows its keys."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from tune.storage.json_record import JsonRecord
from tune.study.state import StudyState


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedDataset:
    """The images that were embedded; of an embedding that came without, the file that it came in."""

    name: str = ""
    fingerprint: str = ""
    class_names: tuple[str, ...] = ()
    resize: int | None = None
    """Pixels a side to which they were resized; None if they were not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRecord(JsonRecord):
    """What was evaluated, when, and what is missing."""

    study: str = ""
    """Or the directory of the results."""
    created_at: str = ""
    """UTC, ISO 8601."""
    command: tuple[str, ...] = ()
    n_train: int = 0
    n_test: int = 0
    dataset: EvaluatedDataset = field(default_factory=EvaluatedDataset)
    finalists: tuple[str, ...] | None = None
    """Best first; None for an embedding that came without a model."""
    finalists_asked: int | None = None
    """How many of the best trials were asked for."""
    finalists_per_dim: bool = False
    """Whether the best trial of each other latent dimension was asked for too."""
    training_seeds: dict[str, int] | None = None
    """Of each finalist's own model."""
    trained_with_labels: tuple[str, ...] | None = None
    """The finalists that are conditional."""
    checkpoints: dict[str, str] | None = None
    """Path or URI of each finalist's own model."""
    state: StudyState | None = None
    """What the finalists were when they were evaluated; None of an older version."""
    test_uses: int | None = None
    """Evaluations so far that have embedded the test images of the study, this one included."""
    seed: int = 0
    seconds: float = 0.0
    from_earlier: int = 0
    """Embeddings that an earlier evaluation had computed."""
    gaps: tuple[str, ...] = ()

    @property
    def n_best(self) -> int:
        """How many of the best trials are among the finalists, whatever their dimensions."""
        n = len(self.finalists or ())
        return self.finalists_asked or n if self.finalists_per_dim else n

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        values = _known(cls, content)
        if "dataset" in values:
            values["dataset"] = EvaluatedDataset(**_known(EvaluatedDataset, values["dataset"]))
        if values.get("state") is not None:
            values["state"] = state = StudyState(**_known(StudyState, values["state"]))
            if not isinstance(state.weights, dict):
                raise ValueError(f"its state has the weights {state.weights!r}")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return what the file holds; it lacks what is None and what was not asked for."""
        content = {name: value for name, value in asdict(self).items() if value is not None}
        if not self.finalists_per_dim:
            del content["finalists_per_dim"]
        if self.dataset.resize is None:
            del content["dataset"]["resize"]
        return content


def _known(kind: type, content: Any) -> dict[str, Any]:
    """Return the values of a dataclass's fields in a JSON object, its lists as tuples."""
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    names = {member.name for member in fields(kind)}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content.items()
        if name in names
    }
