"""The graph of raw pixels is the same from the scores' neighbours as from nothing, and so is UMAP."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.embedders import Images, Raw, Umap
from evaluation.embedders.umap import _GraphIndex
from evaluation.pipeline.serial import Scored, compute, with_raw_neighbors
from evaluation.scores.settings import KnnGrid
from vae.metrics.neighbor_graph import NeighborGraph
from vae.metrics.neighbors import find_neighbors

GRID = KnnGrid(samples_per_class=(5, None), n_neighbors=(1, 15))


@pytest.fixture(scope="module")
def images(few_digits):
    return Images.from_dataset(few_digits)


@pytest.fixture(scope="module")
def known(images):
    """The images with what the scores of their pixels have found."""
    events = [event for event in compute(images, [Raw(64)], GRID) if isinstance(event, Scored)]
    return with_raw_neighbors(images, GRID, {str(e.round): e.neighbors for e in events if e.neighbors})


def test_the_scores_of_raw_pixels_complete_to_the_exact_graph(known):
    train, test = known.pixels()
    found = NeighborGraph.build(train, test, 15, known.raw_neighbors)
    for part, query in ((found.train, train), (found.test, test)):
        expected = find_neighbors(train, query, 15)
        np.testing.assert_array_equal(part.index, expected.index)
        np.testing.assert_array_equal(part.distance, expected.distance)


def test_without_them_or_with_too_few_the_graph_is_the_same(known):
    train, test = known.pixels()
    few = replace(known.raw_neighbors, train=known.raw_neighbors.train.first(4))
    graphs = [NeighborGraph.build(train, test, 15, given) for given in (None, few, known.raw_neighbors)]
    for graph in graphs:
        np.testing.assert_array_equal(graph.train.index, graphs[0].train.index)
        np.testing.assert_array_equal(graph.test.distance, graphs[0].test.distance)


def test_umap_is_the_same_whether_raw_pixels_were_scored_or_not(images, known):
    assert known.raw_neighbors is not None
    alone, after = (next(Umap((2,)).embeddings(given)) for given in (images, known))
    np.testing.assert_array_equal(alone.train, after.train)
    np.testing.assert_array_equal(alone.test, after.test)


def test_the_index_answers_for_all_test_points_alone(known):
    train, test = known.pixels()
    index = _GraphIndex(NeighborGraph.build(train, test, 15))
    rows, distance = index.query(test, 3)
    assert rows.shape == distance.shape == (len(test), 3)
    with pytest.raises(AssertionError, match="as a whole"):
        index.query(test[:5], 3)
