"""What `evaluation.json` says about an evaluation: the one place that knows its keys."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from vae.atomic import write_text
from vae.errors import StorageError


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedDataset:
    """The images that were embedded; of an embedding that came without, the file that it came in."""

    name: str = ""
    fingerprint: str = ""
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRecord:
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
    def read(cls, file: Path) -> Self:
        """Read `evaluation.json`.

        Raises
        ------
        StorageError
            The file is absent, unreadable or not that of an evaluation.
        """
        try:
            return cls.from_json(json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise StorageError(f"cannot read {file}: it does not exist") from error
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot read {file}: {error}") from error

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Return the record of a file's content; keys of other versions are ignored.

        Raises
        ------
        ValueError
            It does not describe an evaluation; the message says why.
        """
        values = _known(cls, content)
        if "dataset" in values:
            values["dataset"] = EvaluatedDataset(**_known(EvaluatedDataset, values["dataset"]))
        return cls(**values)

    def write(self, file: Path) -> None:
        """Write `evaluation.json` so that a reader never sees half of it; it lacks what is None."""
        content = {name: value for name, value in asdict(self).items() if value is not None}
        write_text(json.dumps(content, indent=2) + "\n", file)


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
