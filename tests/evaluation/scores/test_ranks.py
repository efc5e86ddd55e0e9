"""Ranks and what rests on them, against scikit-learn and plain computations."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import rankdata
from sklearn import manifold

from evaluation.scores.ranks import Proximity, neighborhood_recall, trustworthiness

N = 600


@pytest.fixture(scope="module")
def spaces():
    """Points far from the origin, and what noise and fewer dimensions leave of them; arrays and proximity."""
    generator = np.random.default_rng(0)
    points = (generator.normal(size=(N, 30)) + 100).astype(np.float32)
    embedded = (points[:, :4] + generator.normal(size=(N, 4))).astype(np.float32)
    return (points, embedded), tuple(Proximity.between(each, 10) for each in (points, embedded))


def test_ranks_are_those_of_the_sorted_distances(spaces):
    (points, _), (near, _) = spaces
    distance = cdist(points.astype(np.float64), points.astype(np.float64))
    np.fill_diagonal(distance, np.inf)
    every = np.tile(np.arange(N), (N, 1))
    others = every[every != np.arange(N)[:, None]].reshape(N, N - 1)
    expected = np.take_along_axis(rankdata(distance, axis=1), others, 1)
    difference = np.abs(near.ranks(others) - expected)
    assert difference.max() <= 1  # what is equal in float32
    assert difference.mean() < 1e-3
    assert (near.ranks(near.nearest) == np.arange(1, 11)).all()


def test_trustworthiness_and_continuity_are_those_of_scikit_learn(spaces):
    (points, embedded), (near, near_embedded) = spaces
    for there, here, first, second in (
        (points, embedded, near, near_embedded),
        (embedded, points, near_embedded, near),
    ):
        expected = manifold.trustworthiness(there, here, n_neighbors=10)
        assert 0.5 < expected < 0.95
        assert trustworthiness(first, second) == pytest.approx(expected, abs=1e-12)


def test_neighborhood_recall_is_what_it_says():
    generator = np.random.default_rng(2)
    first, second = (generator.normal(size=(60, dim)).astype(np.float32) for dim in (3, 6))
    near = [np.argsort(cdist(points, points) + np.eye(60) * 1e9, axis=1)[:, :7] for points in (first, second)]
    shared = [len(set(a) & set(b)) for a, b in zip(*near, strict=True)]
    found = neighborhood_recall(*(Proximity.between(points, 7) for points in (first, second)))
    assert found == pytest.approx(np.mean(shared) / 7)


def test_duplicates_are_neighbours_of_each_other_but_no_point_is_its_own():
    same = Proximity.between(np.zeros((30, 2), dtype=np.float32), 5)
    assert 0 < neighborhood_recall(same, same) <= 1
    assert not (same.nearest == np.arange(30)[:, None]).any()
