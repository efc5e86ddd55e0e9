"""The state of a study that results were made from: the budget of its trials and the weights of finalists."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyState:
    """What everything that is derived from trials belongs to; a reader that finds another state says so."""

    max_epochs: float | None = None
    """The full budget of a trial in epochs; None for models that belong to no study."""
    weights: dict[str, str] = field(default_factory=dict)
    """`weights_hash` of each finalist's own model, by trial."""

    @classmethod
    def of(cls, checkpoints: Mapping[str, Path], max_epochs: float | None) -> Self:
        """Return the state that finalists are in, whose checkpoints come by trial; a lost one is left out."""
        hashes = {trial_id: weights_hash(directory) for trial_id, directory in checkpoints.items()}
        return cls(max_epochs=max_epochs, weights={t: value for t, value in hashes.items() if value})

    @property
    def stamp(self) -> str:
        """Sixteen hexadecimal digits that stand for it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def weights_hash(directory: Path) -> str | None:
    """Return sixteen hexadecimal digits that change with the weights in a checkpoint; None without any."""
    from vae.checkpoint import MODEL_FILE  # not at the top: torch takes seconds

    try:
        with (directory / MODEL_FILE).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError:
        return None
