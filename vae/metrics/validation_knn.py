"""KNN accuracy of the validation images, measured at each report: the first column of the neutral panel."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae.data import ImageSet
from vae.inference import embed
from vae.metrics.knn import knn_accuracy
from vae.models import VAE

N_NEIGHBORS = 10
MAX_IMAGES = 10_000
"""Of each part: exact enough to rank trials, at the same cost whatever the dataset."""
QUICK_IMAGES = 2500
"""Of each part, for a quick look: within one rung they rank trials nearly as well, at a fraction of the
cost."""


class ValidationKnn:
    """KNN accuracy of query images among reference images, in the latent means of a model.

    Parameters
    ----------
    reference
        Labelled training images, or a sample of them, see `sample_rows`.
    query
        Labelled validation images, or a sample of them.
    """

    def __init__(self, reference: ImageSet, query: ImageSet) -> None:
        assert reference.labels is not None
        assert query.labels is not None
        self.reference, self.reference_labels = reference.images, reference.labels
        self.query, self.query_labels = query.images, query.labels

    def __call__(self, model: VAE, *, quick: bool = False, query_means: Tensor | None = None) -> float:
        """Return the accuracy in [0, 1], higher is better; NaN if a latent is not finite.

        Parameters
        ----------
        quick
            Take at most `QUICK_IMAGES` of each part.
        query_means
            The posterior means of the query images, if they are known already.
        """
        seen, asked = (_rows(part, quick) for part in (self.reference, self.query))
        reference = embed(model, self.reference[seen])
        query = embed(model, self.query[asked]) if query_means is None else query_means
        if not (reference.isfinite().all() and query.isfinite().all()):
            return math.nan
        return knn_accuracy(
            reference,
            self.reference_labels[seen],
            query,
            self.query_labels[asked],
            n_neighbors=N_NEIGHBORS,
            weights="distance",
        )


def _rows(images: Tensor, quick: bool) -> Tensor | slice:
    return evenly_spaced(images, QUICK_IMAGES) if quick else slice(None)


def evenly_spaced(images: Tensor, at_most: int) -> Tensor | slice:
    """Return the rows of at most so many images, evenly spaced."""
    if len(images) <= at_most:
        return slice(None)
    return torch.linspace(0, len(images) - 1, at_most, dtype=torch.float64).long().to(images.device)


def sample_rows(images: ImageSet, seed: int) -> NDArray[np.int64]:
    """Return at most `MAX_IMAGES` rows, sorted, each class in proportion."""
    n = len(images)
    if n <= MAX_IMAGES:
        return np.arange(n)
    order = np.random.default_rng(seed).permutation(n)
    if images.labels is not None:
        order = order[np.argsort(images.labels.numpy()[order], kind="stable")]
    # Evenly spaced positions among rows that are grouped by class take as much of each class.
    return np.sort(order[np.linspace(0, n - 1, MAX_IMAGES).round().astype(np.int64)])
