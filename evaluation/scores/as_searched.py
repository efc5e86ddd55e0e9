"""KNN accuracy as a search measures it after each epoch, of its validation images and of the test images.

Both have the search's own references, so that they differ by the images that are classified alone.
"""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.scores.confidence import share_interval
from vae.metrics.knn import knn_accuracy
from vae.metrics.neighbors import Array, choose_backend
from vae.metrics.validation_knn import N_NEIGHBORS

AS_SEARCHED = "knn_accuracy_as_searched"
"""The metric's name; its protocols are ``validation`` and ``test``."""
VALIDATION = "validation"


def score_as_searched(
    train: Array,
    train_labels: NDArray[np.int64],
    test: Array,
    test_labels: NDArray[np.int64],
    reference: NDArray[np.int64],
    validation: NDArray[np.int64],
    seed: int,
) -> list[dict[str, Any]]:
    """Return two rows of the `evaluations` table, without the embedding's own columns.

    Points are (n, dim) and (m, dim), labels (n,) and (m,). ``reference`` and ``validation`` are rows of the
    training set, those that the search with this seed classified with and by.
    """
    rows = []
    for protocol, query, query_labels in (
        (VALIDATION, train[validation], train_labels[validation]),
        ("test", test, test_labels),
    ):
        started = time.perf_counter()
        share = knn_accuracy(
            train[reference], train_labels[reference], query, query_labels, n_neighbors=N_NEIGHBORS
        )
        low, high = share_interval(share, len(query_labels))
        rows.append(
            {
                "protocol": protocol,
                "metric": AS_SEARCHED,
                "n_neighbors": N_NEIGHBORS,
                "value": share,
                "low": low,
                "high": high,
                "n_train": len(reference),
                "n_query": len(query_labels),
                "seconds": time.perf_counter() - started,
                "seed": seed,
                "backend": choose_backend(train),
            }
        )
    return rows
