"""Which cells of KNN accuracy are scored, and which of them are reported."""

from dataclasses import dataclass

KNN_ACCURACY = "knn_accuracy"


@dataclass(frozen=True, slots=True)
class Setting:
    """One cell of the accuracy grid; ``samples_per_class`` None is the whole training set."""

    samples_per_class: int | None
    n_neighbors: int
    weights: str


ALL_IMAGES_K10 = Setting(None, 10, "distance")
FEW_SHOT_500 = Setting(500, 10, "uniform")
REPORTED_SETTINGS = (ALL_IMAGES_K10, FEW_SHOT_500)
"""Those of the published figures that ours are compared with; each test image's vote is kept for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnnGrid:
    """The cells that are scored: each combination of these, in both protocols."""

    samples_per_class: tuple[int | None, ...] = (50, 100, 500, 1000, 3000, None)
    """Of the training set; None is all of it."""
    n_neighbors: tuple[int, ...] = (1, 5, 10, 25, 50)
    weights: tuple[str, ...] = ("uniform", "distance")
    """How much a vote counts; see `vae.metrics.knn`."""
    n_folds: int = 5
    seed: int = 0
