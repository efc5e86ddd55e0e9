"""Stand-ins for Ray's trials, a small space, and the journal as any reader opens it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from ray.tune import PlacementGroupFactory

from tune.algorithms.objective import Objective
from tune.space.domains import Space
from tune.space.file import parse_space

KNN = Objective("val_knn_accuracy", "max")

SMALL_SPACE = {
    "architecture": {"choice": ["fc", "conv"]},
    "latent_dim": {"choice": [4, 8]},
    "width": 0.25,
    "reconstruction_loss": {"choice": ["bce", "mse"]},
    "learning_rate": {"float": [1e-3, 1e-2], "log": True},
    "batch_size": 256,
}


@dataclass
class FakeMetadata:
    """What is used of `ray.tune.experiment.trial._TrainingRunMetadata`."""

    num_failures: int = 0
    pickled_error_filename: str | None = "error.pkl"


@dataclass
class FakeTrial:
    """What schedulers and callbacks use of `ray.tune.experiment.Trial`."""

    trial_id: str
    config: dict[str, Any] = field(default_factory=dict)
    last_result: dict[str, Any] = field(default_factory=dict)
    pickled_error_file: str = "absent"
    error_file: str | None = None
    max_failures: int = 2
    status: str = "RUNNING"
    placement_group_factory: PlacementGroupFactory = field(
        default_factory=lambda: PlacementGroupFactory([{"CPU": 1}])
    )
    run_metadata: FakeMetadata = field(default_factory=FakeMetadata)

    def update_resources(self, resources: PlacementGroupFactory) -> None:
        self.placement_group_factory = resources

    def __str__(self) -> str:
        return self.trial_id


@pytest.fixture
def small_space() -> Space:
    return parse_space(SMALL_SPACE)


def open_journal(run: Path) -> optuna.Study:
    """Open the Optuna study of a run directory as any reader would."""
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(run / "optuna.journal")))
    return optuna.load_study(study_name=run.name, storage=storage)
