from evaluation.scores.settings import REPORTED_SETTINGS, KnnGrid
from vae.metrics.knn import WEIGHTS


def test_the_default_grid_has_every_weighting_and_what_is_reported():
    grid = KnnGrid()
    assert grid.weights == WEIGHTS
    for setting in REPORTED_SETTINGS:
        assert setting.samples_per_class in grid.samples_per_class
        assert setting.n_neighbors in grid.n_neighbors
        assert setting.weights in grid.weights
