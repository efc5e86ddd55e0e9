"""One variational autoencoder: data, models, losses, training, checkpoints. Imports torch, never Ray.

`train` and `load` return a `TrainedVAE`; `VAEEmbedding` is one for scikit-learn; `load_dataset` reads images.
Importing the package loads none of its dependencies: torch is imported with the first of these names.
"""

from typing import TYPE_CHECKING

from vae.errors import ClusterError, Error, StorageError, UsageError
from vae.lazy import lazy_attributes

if TYPE_CHECKING:
    from vae.api import load, train
    from vae.data import load_dataset
    from vae.trained_vae import TrainedVAE
    from vae.transformer import VAEEmbedding
else:
    __getattr__, __dir__ = lazy_attributes(
        __name__,
        {
            "TrainedVAE": "vae.trained_vae",
            "VAEEmbedding": "vae.transformer",
            "load": "vae.api",
            "load_dataset": "vae.data",
            "train": "vae.api",
        },
    )

__all__ = [
    "ClusterError",
    "Error",
    "StorageError",
    "TrainedVAE",
    "UsageError",
    "VAEEmbedding",
    "load",
    "load_dataset",
    "train",
]
