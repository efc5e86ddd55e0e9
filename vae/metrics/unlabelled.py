"""What is measured of an embedding without labels: the nearest by pixels that stay near, and its rank."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae.metrics.neighbors import Array, find_neighbors

N_NEIGHBORS = 10
MAX_IMAGES = 2000
"""At most so many validation images are compared, always the same ones."""


class UnlabelledScores:
    """Scores of a model's posterior means that need no labels; the neighbours by pixels are found once.

    Parameters
    ----------
    images
        Validation images, uint8 (n, C, H, W); of more than `MAX_IMAGES`, evenly spaced ones count.
    """

    def __init__(self, images: Tensor) -> None:
        n = len(images)
        self.rows = torch.linspace(0, n - 1, min(n, MAX_IMAGES), dtype=torch.float64).long().to(images.device)
        # Of few images not all the others: every embedding would keep these.
        self.n_neighbors = min(N_NEIGHBORS, len(self.rows) // 2)
        self.nearest = np.empty((len(self.rows), 0), np.int64)
        if self.n_neighbors:
            self.nearest = nearest_others(images[self.rows].flatten(1).float(), self.n_neighbors)

    def __call__(self, means: Tensor) -> dict[str, float]:
        """Return both scores of the posterior means (n, latent_dim) of all validation images.

        Returns
        -------
        dict
            ``val_neighbour_recall``: share of the 10 nearest images by pixels (half of the images, if there
            are fewer than 20) that are among the 10 nearest by posterior mean, in [0, 1]; a point is not its
            own neighbour. ``val_rankme``: see `rankme`. Higher is better for both; NaN if a mean is not
            finite, the recall also of a single image.
        """
        points = means[self.rows]
        if not points.isfinite().all():
            return {"val_neighbour_recall": math.nan, "val_rankme": math.nan}
        recall = math.nan
        if self.n_neighbors:
            recall = shared_neighbors(self.nearest, nearest_others(points, self.n_neighbors))
        return {"val_neighbour_recall": recall, "val_rankme": rankme(points)}


def rankme(points: Tensor) -> float:
    """Return the effective rank of an embedding (n, dim), from 1 to min(n, dim); 0 if all points are 0.

    It is exp of the entropy of the singular values, divided by their sum: RankMe, Garrido et al. 2023,
    arXiv:2210.02885, whose 1e-7 beside each of them only keeps the logarithm finite.

    Examples
    --------
    >>> round(rankme(torch.eye(8)), 3)
    8.0
    """
    values = torch.linalg.svdvals(points.double())
    total = values.sum()
    return float(torch.special.entr(values / total).sum().exp()) if total > 0 else 0.0


def shared_neighbors(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Return the share of the neighbours (n, k) that each point has in both lists, in [0, 1].

    Examples
    --------
    >>> shared_neighbors(np.array([[1, 2], [0, 2]]), np.array([[2, 3], [2, 0]]))
    0.75
    """
    return float((first[:, :, None] == second[:, None, :]).any(2).mean())


def nearest_others(points: Array, n_neighbors: int) -> NDArray[np.int64]:
    """Return the nearest of each point (n, dim) without itself, int64 (n, n_neighbors), the closest first."""
    index = find_neighbors(points, points, n_neighbors + 1).index
    itself = index == np.arange(len(points))[:, None]
    itself[~itself.any(1), -1] = True  # so many duplicates that it is not among them: leave out the last
    return index[~itself].reshape(len(points), n_neighbors)
