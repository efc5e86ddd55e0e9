"""What `evaluation.json` says about an evaluation: the one place that knows its keys."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from tune.storage.json_record import JsonRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedDataset:
    """The images that were embedded; of an embedding that came without, the file that it came in."""

    name: str = ""
    fingerprint: str = ""
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRecord(JsonRecord):
    """What was evaluated, when, and what is missing; a default is what an older file means without the key.

    Parameters
    ----------
    study
        Name of the study, or of the directory of the results.
    created_at
        UTC, ISO 8601.
    command
        The command line.
    n_train, n_test
        Images, or points, of both splits.
    dataset
        Which images.
    finalists
        Trials that were evaluated, best first; None for an embedding that came without a model.
    training_seeds
        Of each finalist, the seed of its own model.
    trained_with_labels
        The finalists that are conditional.
    checkpoints
        Of each finalist, path or URI of its own model.
    seed
        Of what is random.
    seconds
        How long it took.
    from_earlier
        Embeddings that an earlier evaluation had computed.
    gaps
        What is missing, and why.
    """

    study: str = ""
    created_at: str = ""
    command: tuple[str, ...] = ()
    n_train: int = 0
    n_test: int = 0
    dataset: EvaluatedDataset = field(default_factory=EvaluatedDataset)
    finalists: tuple[str, ...] | None = None
    training_seeds: dict[str, int] | None = None
    trained_with_labels: tuple[str, ...] | None = None
    checkpoints: dict[str, str] | None = None
    seed: int = 0
    seconds: float = 0.0
    from_earlier: int = 0
    gaps: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        values = _known(cls, content)
        if "dataset" in values:
            values["dataset"] = EvaluatedDataset(**_known(EvaluatedDataset, values["dataset"]))
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return what the file holds; it lacks what is None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


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
