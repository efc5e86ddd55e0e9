"""The search: space, Optuna, ASHA, trials on Ray, and the study that ties them together.

>>> import tune
>>> study = tune.search("fmnist", trials=40, max_epochs=20)  # doctest: +SKIP
>>> study.best_trial.value, study.trials, study.epochs  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vae.errors import ClusterError, Error, StorageError, UsageError

if TYPE_CHECKING:
    from tune.api import extend, load, resume, search
    from tune.study.study import Study, Trial

__all__ = [
    "ClusterError",
    "Error",
    "StorageError",
    "Study",
    "Trial",
    "UsageError",
    "extend",
    "load",
    "resume",
    "search",
]

_HOMES = {
    "extend": "tune.api",
    "load": "tune.api",
    "resume": "tune.api",
    "search": "tune.api",
    "Study": "tune.study.study",
    "Trial": "tune.study.study",
}
"""What is imported on first use: Ray, Optuna and torch take seconds."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tune' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
