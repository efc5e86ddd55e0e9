"""Scores other than KNN accuracy: what an embedding keeps of the pixels, how it separates classes."""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.scores.confidence import share_interval
from evaluation.scores.ranks import Proximity, neighborhood_recall, trustworthiness

N_NEIGHBORS = 10
MAX_IMAGES = 5000
"""Test images, drawn at random, as the cost of most of these scores rises with the square of their number."""
PROBE_IMAGES = 10_000
"""Training images, drawn at random, that the linear probe learns from."""

Points = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Score:
    """How one of these scores is presented; higher is better for all of them."""

    title: str
    description: str


STRUCTURE: Mapping[str, Score] = {
    "linear_probe_accuracy": Score(
        "linear probe", f"test accuracy of a logistic regression on {PROBE_IMAGES:,} training images"
    ),
    "trustworthiness": Score(
        "trustworthiness",
        f"that the {N_NEIGHBORS} nearest in the embedding are near in pixels (Venna & Kaski 2001)",
    ),
    "continuity": Score("continuity", f"that the {N_NEIGHBORS} nearest in pixels are near in the embedding"),
    "neighborhood_recall": Score(
        "neighbour recall", f"share of the {N_NEIGHBORS} nearest in pixels that stay so"
    ),
    "silhouette": Score(
        "silhouette", "how far classes lie apart against their own extent (Rousseeuw 1987), −1 to 1"
    ),
    "kmeans_nmi": Score(
        "k-means NMI", "mutual information of classes and as many k-means clusters, normalised"
    ),
    "kmeans_ari": Score("k-means ARI", "agreement of classes and as many k-means clusters, 0 for chance"),
}
"""The scores by the name that they have in the `evaluations` table."""


def pixel_proximity(pixels: Points, *, seed: int = 0) -> Proximity | None:
    """Return what every embedding of the test images (m, d) is compared with; None if they are too few."""
    drawn = _drawn(len(pixels), np.random.default_rng(seed))
    return Proximity.between(pixels[drawn], N_NEIGHBORS) if len(drawn) > 2 * N_NEIGHBORS else None


def _drawn(n: int, generator: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(generator.permutation(n)[:MAX_IMAGES])


def score_structure(
    train: Points,
    train_labels: Labels | None,
    test: Points,
    test_labels: Labels | None,
    pixels: Proximity | None,
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the rows of the `evaluations` table, without the embedding's own columns.

    Points are (n, dim) and (m, dim), ``pixels`` are of `pixel_proximity` with the same seed. Without labels
    the scores that are about classes are left out, without pixels those that are about these. The seed is
    that of the random subsets and of k-means.
    """
    # Not at the top of the file: they take a second, and only the workers compute.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    generator = np.random.default_rng(seed)
    drawn = _drawn(len(test), generator)
    rows = []

    def add(name: str, value: float, **columns: Any) -> None:
        rows.append(
            {
                "protocol": "test",
                "metric": name,
                "value": value,
                "n_query": len(drawn),
                "seconds": time.perf_counter() - started,
                "seed": seed,
                "backend": "scikit-learn",
                **columns,
            }
        )

    started = time.perf_counter()
    if pixels is not None:
        keeps = {"n_neighbors": N_NEIGHBORS, "n_train": 0, "backend": "numpy"}
        embedded = Proximity.between(test[drawn], N_NEIGHBORS)
        add("trustworthiness", trustworthiness(pixels, embedded), **keeps)
        add("continuity", trustworthiness(embedded, pixels), **keeps)
        add("neighborhood_recall", neighborhood_recall(pixels, embedded), **keeps)
    if train_labels is None or test_labels is None:
        return rows
    if 1 < len(np.unique(test_labels[drawn])) < len(drawn):
        add("silhouette", float(silhouette_score(test[drawn], test_labels[drawn])), n_train=0)
    n_classes = len(np.unique(test_labels))
    if n_classes > 1:
        with warnings.catch_warnings():  # fewer points than clusters: the scores show it
            warnings.simplefilter("ignore", ConvergenceWarning)
            clusters = KMeans(n_classes, n_init=10, random_state=seed).fit_predict(test)
        whole = {"n_train": 0, "n_query": len(test)}
        add("kmeans_nmi", float(normalized_mutual_info_score(test_labels, clusters)), **whole)
        add("kmeans_ari", float(adjusted_rand_score(test_labels, clusters)), **whole)
    learned = np.sort(generator.permutation(len(train))[:PROBE_IMAGES])
    if len(np.unique(train_labels[learned])) > 1:
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        with warnings.catch_warnings():  # the last tenths of its loss are worth nothing here
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(train[learned], train_labels[learned])
        share = float(probe.score(test, test_labels))
        low, high = share_interval(share, len(test))
        columns = {"low": low, "high": high, "n_train": len(learned), "n_query": len(test)}
        add("linear_probe_accuracy", share, **columns)
    return rows
