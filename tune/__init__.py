"""The search: space, Optuna, ASHA, trials on Ray, and the study that ties them together.

>>> import tune
>>> study = tune.search("fmnist", trials=40, max_epochs=20)  # doctest: +SKIP
>>> study.best_trial.value, study.trials, study.epochs  # doctest: +SKIP
"""

from typing import TYPE_CHECKING

from vae.errors import ClusterError, Error, StorageError, UsageError
from vae.lazy import lazy_attributes

if TYPE_CHECKING:
    from tune.api import extend, load, resume, search
    from tune.study.study import Study, Trial
else:
    __getattr__, __dir__ = lazy_attributes(
        __name__,
        {
            "Study": "tune.study.study",
            "Trial": "tune.study.study",
            "extend": "tune.api",
            "load": "tune.api",
            "resume": "tune.api",
            "search": "tune.api",
        },
    )

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
