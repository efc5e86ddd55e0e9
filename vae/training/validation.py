"""What is measured of a model in training, on the validation images: the neutral panel and KNN accuracy."""

import math
from typing import Protocol

import torch
from torch import Tensor

from vae.config import LossConfig
from vae.metrics.panel import panel_and_means
from vae.metrics.unlabelled import UnlabelledScores
from vae.metrics.validation_knn import QUICK_IMAGES, evenly_spaced
from vae.models import VAE

MAX_IMAGES = 10_000
"""Of the validation images, evenly spaced: exact enough, and large data sets are not looked at for longer."""


class Knn(Protocol):
    """What measures the KNN accuracy, see `vae.metrics.validation_knn.ValidationKnn`."""

    def __call__(self, model: VAE, *, quick: bool = False, query_means: Tensor | None = None) -> float: ...


class Validation:
    """Measures a model, with all validation images or, for a quick look, with at most `QUICK_IMAGES`.

    Parameters
    ----------
    images
        The validation images, uint8 (n, C, H, W).
    loss
        Of the training.
    knn
        Measures ``val_knn_accuracy``; None measures none.
    """

    def __init__(self, images: Tensor, loss: LossConfig, knn: Knn | None = None) -> None:
        self.loss = loss
        self.knn = knn
        self.images = images[evenly_spaced(images, MAX_IMAGES)]
        asked = getattr(knn, "query", None)  # so that the same images need not be encoded twice
        self._knn_asks_these = isinstance(asked, Tensor) and torch.equal(asked, self.images)
        self._scores: dict[bool, UnlabelledScores] = {}

    def __call__(self, model: VAE, *, quick: bool = False) -> dict[str, float]:
        """Return the neutral panel; the KNN accuracy is NaN if the loss is not finite."""
        images = self.images[evenly_spaced(self.images, QUICK_IMAGES)] if quick else self.images
        if quick not in self._scores:  # a training that has only one kind of look needs only one
            self._scores[quick] = UnlabelledScores(images)
        metrics, means = panel_and_means(model, images, self.loss, unlabelled=self._scores[quick])
        if self.knn is not None:
            metrics["val_knn_accuracy"] = math.nan
            if math.isfinite(metrics["val_loss"]):
                known = means if self._knn_asks_these else None
                metrics["val_knn_accuracy"] = self.knn(model, quick=quick, query_means=known)
        return metrics
