import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from evaluation.scores.confidence import share_interval
from evaluation.scores.protocols import (
    ROUNDS,
    Round,
    assign_folds,
    missing_cells,
    rank_within_class,
    score_round,
)
from evaluation.scores.settings import ALL_IMAGES_K10, KnnGrid

GRID = KnnGrid(samples_per_class=(5, 20, None), n_neighbors=(1, 5, 10, 25), n_folds=4, seed=3)


@pytest.fixture(scope="module")
def points(images):
    """Digits in 10 dimensions, without the ties that pixels have."""
    generator = np.random.default_rng(0)
    project = generator.normal(size=(64, 10)).astype(np.float32)
    train, test = images.pixels()
    return (
        (train @ project)[:400],
        images.train_labels[:400],
        (test @ project)[:150],
        images.test_labels[:150],
    )


@pytest.mark.parametrize("which", ROUNDS, ids=str)
def test_every_cell_is_what_scikit_learn_finds(points, which):
    train, labels, test, test_labels = points
    rank = rank_within_class(labels, GRID.seed)
    rows = score_round(which, *points, GRID).rows
    assert len(rows) == 3 * 4 * 2 * (1 if which.protocol == "test" else GRID.n_folds)
    for row in rows:
        subset = rank < (row["samples_per_class"] or len(labels))
        if which.protocol == "test":
            fit, query, query_labels = subset, test, test_labels
        else:
            fit = subset & (rank % GRID.n_folds != row["fold"])
            held_out = subset & (rank % GRID.n_folds == row["fold"])
            query, query_labels = train[held_out], labels[held_out]
        oracle = KNeighborsClassifier(row["n_neighbors"], weights=row["weights"]).fit(train[fit], labels[fit])
        assert row["value"] == pytest.approx(oracle.score(query, query_labels), abs=1e-12)
        assert (row["n_train"], row["n_query"]) == (fit.sum(), len(query))


def test_subsets_are_nested_and_balanced_and_folds_stratified_in_each(images):
    labels = images.train_labels
    rank = rank_within_class(labels, seed=0)
    for size in (5, 50, 100):
        assert set(np.bincount(labels[rank < size])) == {size}
        for fold in range(5):
            assert set(np.bincount(labels[(rank < size) & (rank % 5 == fold)])) == {size // 5}


def test_the_seed_decides_the_subsets(images):
    labels = images.train_labels
    np.testing.assert_array_equal(rank_within_class(labels, 1), rank_within_class(labels, 1))
    assert (rank_within_class(labels, 1) != rank_within_class(labels, 2)).any()


def test_cross_validation_never_looks_at_the_test_set(points):
    train, labels, test, test_labels = points
    noise = np.full_like(test, np.nan)
    rows = score_round(Round("cv"), train, labels, noise, test_labels[::-1], GRID).rows
    clean = score_round(Round("cv"), *points, GRID).rows
    assert [row["value"] for row in rows] == [row["value"] for row in clean]


def test_cells_that_the_training_set_is_too_small_for_are_left_out_and_named():
    labels = np.repeat([0, 1], 20)
    grid = KnnGrid(samples_per_class=(5, 50, None), n_neighbors=(1, 10, 50))
    points = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    cells = {
        (row["samples_per_class"], row["n_neighbors"])
        for which in ROUNDS
        for row in score_round(which, points, labels, points[:3], labels[:3], grid).rows
    }
    assert cells == {
        (5, 1),
        (5, 10),
        (None, 1),
        (None, 10),
    }  # 10 neighbours of 10 references: on the test set
    assert missing_cells(labels, grid) == [
        "50 samples per class: the smallest class has 20",
        "k = 10, 50 with 5 samples per class: cross-validation has only 8 references",
        "k = 50 with all images: cross-validation has only 32 references",
    ]


def test_nothing_is_missing_from_the_default_grid_on_sixty_thousand_images():
    assert missing_cells(np.repeat(np.arange(10), 6000), KnnGrid()) == []


def test_a_class_that_is_too_small_for_the_folds_is_named_once():
    gaps = missing_cells(np.repeat([0, 1], [60, 3]), KnnGrid(samples_per_class=(50, 100), n_neighbors=(1,)))
    assert gaps == [
        "a class in some of the 5 folds of the cross-validation: the smallest has 3 images",
        "50, 100 samples per class: the smallest class has 3",
    ]


def test_a_fold_without_images_is_left_out():
    labels = np.array([0, 0, 1, 1])
    rows = score_round(Round("cv"), np.eye(4), labels, np.eye(4), labels, KnnGrid(n_neighbors=(1,))).rows
    assert {row["fold"] for row in rows} == {0, 1}


def test_each_test_image_and_its_vote_is_kept_for_the_reported_settings(points):
    train, labels, test, _ = points
    grid = KnnGrid(samples_per_class=(20, None), n_neighbors=(5, 10))
    scores = score_round(Round("test"), *points, grid)
    assert list(scores.predicted) == [ALL_IMAGES_K10]  # 20 per class are not the other one's 500
    oracle = KNeighborsClassifier(10, weights="distance").fit(train, labels)
    np.testing.assert_array_equal(scores.predicted[ALL_IMAGES_K10], oracle.predict(test))
    assert score_round(Round("cv"), *points, grid).predicted == {}


def test_scores_of_the_test_set_have_an_interval_over_its_images(points):
    for row in score_round(Round("test"), *points, GRID).rows:
        assert (row["low"], row["high"]) == share_interval(row["value"], 150)
    assert {row["low"] for row in score_round(Round("cv"), *points, GRID).rows} == {None}


def test_images_of_one_group_are_never_both_asked_and_answering():
    # each group is one place: with its own images as references every vote would be right
    labels, groups = np.repeat(np.arange(20) % 2, 4), np.repeat(np.arange(20), 4)
    points = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)[groups]
    grid = KnnGrid(samples_per_class=(None,), n_neighbors=(1,), weights=("uniform",))
    leaky, honest = (
        score_round(Round("cv"), points, labels, points[:4], labels[:4], grid, given).rows
        for given in (None, groups)
    )
    assert np.mean([row["value"] for row in leaky]) == 1
    assert np.mean([row["value"] for row in honest]) < 0.9
    assert sum(row["n_query"] for row in honest) == len(labels)
    folds = assign_folds(labels, grid, groups)
    assert all(len(set(folds[groups == group])) == 1 for group in range(20))


def test_what_groups_leave_too_small_is_named():
    labels, groups = np.repeat([0, 1] * 3, 10), np.repeat(np.arange(6), 10)
    gaps = missing_cells(labels, KnnGrid(samples_per_class=(None,), n_neighbors=(1, 45)), groups)
    assert gaps == ["k = 45 with all images: cross-validation has only 40 references"]
