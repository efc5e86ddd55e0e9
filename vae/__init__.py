"""One variational autoencoder: data, models, losses, training, checkpoints. Imports torch, never Ray.

`train` and `load` return a `TrainedVAE`; `load_dataset` reads images. Importing the package loads none of its
dependencies: torch is imported with the first of these names.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vae.errors import ClusterError, Error, StorageError, UsageError

if TYPE_CHECKING:
    from vae.api import load, train
    from vae.data import load_dataset
    from vae.trained_vae import TrainedVAE

__all__ = [
    "ClusterError",
    "Error",
    "StorageError",
    "TrainedVAE",
    "UsageError",
    "load",
    "load_dataset",
    "train",
]

_MODULES = {
    "TrainedVAE": "vae.trained_vae",
    "load": "vae.api",
    "load_dataset": "vae.data",
    "train": "vae.api",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
