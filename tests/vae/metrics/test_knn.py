import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from vae.errors import UsageError
from vae.metrics.knn import WEIGHTS, knn_accuracy, knn_predict, vote
from vae.metrics.neighbors import Neighbors, find_neighbors

KS = [1, 2, 3, 5, 10, 25]


@pytest.mark.parametrize("weights", WEIGHTS)
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), n_classes=st.integers(1, 6))
def test_predictions_are_those_of_scikit_learn_at_every_k(weights, seed, n_classes):
    generator = np.random.default_rng(seed)
    reference, query = generator.normal(size=(60, 3)), generator.normal(size=(20, 3))
    reference, query = reference.astype(np.float32), query.astype(np.float32)
    labels = (
        generator.choice([-3, 0, 1, 7, 20, 21], size=60)
        if n_classes > 3
        else generator.integers(n_classes, size=60)
    )
    query[:5] = reference[:5]  # at distance zero
    predictions = vote(find_neighbors(reference, query, max(KS)), labels, KS, weights)
    for k, predicted in zip(KS, predictions, strict=True):
        oracle = KNeighborsClassifier(k, weights=weights, algorithm="kd_tree").fit(reference, labels)
        np.testing.assert_array_equal(predicted, oracle.predict(query))


def test_four_points_on_a_line_vote_as_counted_by_hand():
    reference, labels = np.array([[0.0], [1.0], [2.0], [10.0]]), np.array([5, 3, 3, 5])
    query = np.array([[0.4]])  # distances 0.4, 0.6, 1.6, 9.6
    uniform = [
        knn_predict(reference, labels, query, n_neighbors=k, weights="uniform")[0] for k in (1, 2, 3, 4)
    ]
    assert uniform == [5, 3, 3, 3]  # at 2 and 4 a tie, which the smaller label wins
    distance = [
        knn_predict(reference, labels, query, n_neighbors=k, weights="distance")[0] for k in (1, 2, 3, 4)
    ]
    assert distance == [5, 5, 5, 5]  # 1/0.4 = 2.5 against 1/0.6 + 1/1.6 = 2.29


def test_references_at_distance_zero_outvote_all_others():
    neighbors = Neighbors(np.array([[0, 1, 2]]), np.array([[0.0, 1e-6, 1e-6]], dtype=np.float32))
    predicted = list(vote(neighbors, np.array([9, 1, 1]), [1, 3], "distance"))
    assert [p[0] for p in predicted] == [9, 9]


def test_accuracy_is_the_share_of_right_predictions():
    reference, labels = np.array([[0.0], [10.0]]), np.array([0, 1])
    query, query_labels = np.array([[1.0], [2.0], [9.0], [8.0]]), np.array([0, 1, 1, 1])
    assert knn_accuracy(reference, labels, query, query_labels, n_neighbors=1) == 0.75


def test_tensors_are_taken_as_they_are():
    points, labels = torch.randn(50, 4), torch.randint(0, 3, (50,))
    arguments = (points[:40], labels[:40], points[40:], labels[40:])
    assert knn_accuracy(*arguments) == knn_accuracy(*(part.numpy() for part in arguments))


def test_unknown_weights_are_refused():
    with pytest.raises(UsageError, match="weights must be one of uniform, distance, got 'rank'"):
        knn_accuracy(
            np.zeros((3, 1)), np.zeros(3), np.zeros((1, 1)), np.zeros(1), n_neighbors=1, weights="rank"
        )
