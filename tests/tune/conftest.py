"""Stand-ins for Ray's trials and for a plan, a small space, and the journal as any reader opens it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from ray.tune import PlacementGroupFactory

from tune.algorithms.budget import Budget
from tune.algorithms.objective import Objective
from tune.space.domains import Space
from tune.space.file import parse_space
from tune.storage.tables import EPOCHS

KNN = Objective("val_knn_accuracy", "max")

SMALL_SPACE = {
    "architecture": {"choice": ["fc", "conv"]},
    "latent_dim": {"choice": [4, 8]},
    "width": 0.25,
    "reconstruction_loss": {"choice": ["bce", "mse"]},
    "learning_rate": {"float": [1e-3, 1e-2], "log": True},
    "batch_size": 256,
}


PARAMS = {"architecture": "fc", "latent_dim": 4, "max_epochs": 3, "seed": 5}

TRAINED_PARAMS = {
    "architecture": "fc",
    "latent_dim": 4,
    "width": 0.25,
    "learning_rate": 3e-3,
    "batch_size": 128,
    "max_epochs": 4,
    "seed": 11,
}
"""Those of a trial that is trained indeed."""


@dataclass
class SmallPlan:
    """What searcher and restoration use of `tune.study.plan.Plan`."""

    space: Space = field(default_factory=lambda: parse_space(SMALL_SPACE))
    sampler: str = "random"
    seed: int = 0
    patience: int | None = None
    target: float | None = None


def budget_of(max_epochs: int) -> Budget:
    """Return a budget on a single training image: as many images as epochs."""
    return Budget(images=max_epochs, n_train=1, grace_period=1, reduction_factor=3)


def epoch_result(epoch: int, value: float, **more: Any) -> dict[str, Any]:
    """Return what a trial reports after an epoch; ``value`` is its KNN accuracy."""
    other = {name: 1.0 for name in EPOCHS.names if name not in ("study", "trial_id")}
    panel = {"val_ssim": value / 2, "val_mse": 0.1, "val_psnr": 10.0, "val_kl": 1.0, "active_units": 3}
    about = {
        "epoch": epoch,
        "images": epoch,
        "quick": False,
        KNN.name: value,
        "hostname": "node-a",
        "n_parameters": 7,
    }
    return other | panel | about | more


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


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def small_space() -> Space:
    return parse_space(SMALL_SPACE)


def open_journal(run: Path) -> optuna.Study:
    """Open the Optuna study of a run directory as any reader would."""
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(run / "optuna.journal")))
    return optuna.load_study(study_name=None, storage=storage)  # the only one, whatever its name
