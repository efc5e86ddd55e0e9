import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vae.errors import UsageError
from vae.metrics import neighbors
from vae.metrics.neighbors import (
    BACKENDS,
    choose_backend,
    cross_neighbors,
    find_neighbors,
    nested_neighbors,
    own_group_neighbors,
)


def every_distance(reference, query):
    """The definition: all differences, no shortcut."""
    difference = query[:, None].astype(np.float64) - reference[None].astype(np.float64)
    return np.sqrt((difference**2).sum(-1)).astype(np.float32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dim", [1, 2, 6, 7, 30])
def test_neighbours_are_those_of_the_definition(backend, dim):
    generator = np.random.default_rng(dim)
    reference = generator.normal(size=(300, dim)).astype(np.float32)
    query = generator.normal(size=(40, dim)).astype(np.float32)
    distance = every_distance(reference, query)
    order = np.argsort(distance, axis=1, kind="stable")[:, :12]
    found = find_neighbors(reference, query, 12, backend=backend)
    np.testing.assert_array_equal(found.index, order)
    np.testing.assert_allclose(found.distance, np.take_along_axis(distance, order, 1), rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, max_examples=50)
@given(data=st.data(), dim=st.integers(1, 8), n=st.integers(1, 40))
def test_points_at_equal_distance_are_ordered_by_index(backend, data, dim, n):
    corners = st.integers(-1, 1)  # so few places that nearly every distance is a tie
    reference = data.draw(arrays(np.float32, (n, dim), elements=corners))
    query = data.draw(arrays(np.float32, (3, dim), elements=corners))
    k = data.draw(st.integers(1, n))
    expected = np.argsort(every_distance(reference, query), axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(find_neighbors(reference, query, k, backend=backend).index, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_duplicate_far_from_the_origin_is_at_distance_zero(backend):
    reference = (np.random.default_rng(0).normal(size=(50, 20)) + 1000).astype(np.float32)
    found = find_neighbors(reference, reference[:5], 2, backend=backend)
    np.testing.assert_array_equal(found.index[:, 0], np.arange(5))
    np.testing.assert_array_equal(found.distance[:, 0], 0)
    assert (found.distance[:, 1] > 1).all()


def points_with_ties(n, dim, seed=0):
    """Half of them lie on few places, so that many distances are equal or zero."""
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(n, dim))
    points[::2] = generator.integers(0, 3, size=(len(points[::2]), dim))
    return (points + 5).astype(np.float32)


@pytest.fixture
def _small_tiles(monkeypatch):
    monkeypatch.setattr(neighbors, "TILE", 16)


@pytest.mark.usefixtures("_small_tiles")
@pytest.mark.parametrize("backend", BACKENDS)
def test_neighbours_in_nested_references_are_those_of_each_by_itself(backend):
    reference, query = points_with_ties(300, 3), points_with_ties(50, 3, seed=1)
    order = np.random.default_rng(2).permutation(300)
    blocks = [np.sort(block) for block in np.split(order, [4, 60, 60])]  # one adds nothing
    found = nested_neighbors(reference, query, blocks, 20, backend=backend)
    for n_blocks, nearest in enumerate(found, start=1):
        rows = np.sort(np.concatenate(blocks[:n_blocks]))
        alone = find_neighbors(reference[rows], query, min(20, len(rows)), backend="torch")
        np.testing.assert_array_equal(nearest.index, rows[alone.index])
        np.testing.assert_array_equal(nearest.distance, alone.distance)


@pytest.mark.usefixtures("_small_tiles")
@pytest.mark.parametrize("backend", BACKENDS)
def test_neighbours_among_other_groups_are_those_of_each_group_by_itself(backend, monkeypatch):
    monkeypatch.setattr(neighbors, "choose_backend", lambda _: backend)
    points, group = points_with_ties(200, 3), np.random.default_rng(1).integers(0, 4, 200)
    blocks = [np.arange(0, 200, 5), np.setdiff1d(np.arange(200), np.arange(0, 200, 5))]
    subsets = list(cross_neighbors(points, group, blocks, 30))
    assert len(subsets) == 2
    for found, rows in zip(subsets, [blocks[0], np.arange(200)], strict=True):
        assert sorted(np.concatenate([own for own, _ in found])) == rows.tolist()
        for own, nearest in found:
            others = rows[group[rows] != group[own[0]]]
            alone = find_neighbors(points[others], points[own], min(30, len(others)), backend="torch")
            np.testing.assert_array_equal(nearest.index, others[alone.index])
            np.testing.assert_array_equal(nearest.distance, alone.distance)


def test_tensors_give_the_same_as_arrays():
    points = np.random.default_rng(0).normal(size=(80, 9)).astype(np.float32)
    of_arrays = find_neighbors(points[:60], points[60:], 5)
    of_tensors = find_neighbors(torch.from_numpy(points[:60]), torch.from_numpy(points[60:]), 5)
    np.testing.assert_array_equal(of_arrays.index, of_tensors.index)


def test_data_in_main_memory_goes_to_numpy():
    assert choose_backend(np.zeros((1, 1))) == choose_backend(torch.zeros(1, 1)) == "numpy"


@pytest.mark.parametrize("k", [0, 6])
def test_a_number_of_neighbours_that_is_not_there_is_refused(k):
    with pytest.raises(UsageError, match=f"n_neighbors must be between 1 and the 5 references, got {k}"):
        find_neighbors(np.zeros((5, 2)), np.zeros((1, 2)), k)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_points_that_are_not_finite_are_refused(bad):
    with pytest.raises(UsageError, match="the query points must be finite"):
        find_neighbors(np.zeros((5, 2)), np.full((1, 2), bad), 1)


def test_a_point_that_is_not_finite_is_found_in_every_part(monkeypatch):
    monkeypatch.setattr(neighbors, "_CHECKED_ROWS", 2)
    reference = np.zeros((6, 2))
    reference[5, 1] = np.nan
    with pytest.raises(UsageError, match="the reference points must be finite"):
        find_neighbors(reference, np.zeros((1, 2)), 1)


def test_an_unknown_backend_is_refused():
    with pytest.raises(UsageError, match="backend must be one of numpy, torch, got 'faiss'"):
        find_neighbors(np.zeros((5, 2)), np.zeros((1, 2)), 1, backend="faiss")


@pytest.mark.parametrize("n_groups", [1, 3])
def test_own_group_and_other_groups_together_are_all(monkeypatch, n_groups):
    monkeypatch.setattr(neighbors, "TILE", 32)  # several tiles for each group
    points = points_with_ties(200, 3)
    group = np.arange(200) % n_groups
    own = own_group_neighbors(points, group, 9)
    expected = find_neighbors(points, points, 9)
    if n_groups == 1:
        found = own
    else:
        (parts,) = cross_neighbors(points, group, [np.arange(200)], 9)
        other = (
            np.concatenate([each.index for _, each in parts]),
            np.concatenate([each.distance for _, each in parts]),
        )
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        found = own.merge(neighbors.Neighbors(other[0][order], other[1][order]), 9)
    np.testing.assert_array_equal(found.index, expected.index)
    np.testing.assert_array_equal(found.distance, expected.distance)


def test_a_group_with_too_few_points_has_the_others_at_infinity():
    points = np.arange(5, dtype=np.float32)[:, None]
    found = own_group_neighbors(points, np.array([0, 0, 1, 1, 1]), 3)
    np.testing.assert_array_equal(found.distance[0], [0, 1, np.inf])
    np.testing.assert_array_equal(found.index[4], [4, 3, 2])
