"""Finalists beside their fresh seeds, which are those of `write_fresh_seeds`."""

import pytest

from evaluation.analysis.finalists import finalist_rows, fresh_seed_keys
from evaluation.analysis.results import Results
from evaluation.scores.confidence import t_interval
from evaluation.scores.settings import ALL_IMAGES_K10
from tests.evaluation.conftest import BEST, SECOND


def test_a_fresh_mean_and_interval_are_those_of_the_completed_seeds(reseeded_once):
    results = Results.read(reseeded_once)
    second, best = finalist_rows(results)
    assert (second.row.key.trial_id, best.row.key.trial_id) == (SECOND, BEST)
    assert (second.fresh.n, second.fresh.n_failed) == (3, 0)
    assert (best.fresh.n, best.fresh.n_failed) == (2, 1)
    assert second.fresh.objective == t_interval([0.90, 0.91, 0.92])
    tests = [
        results.scores.accuracies(key, "test", ALL_IMAGES_K10)[0] for key in fresh_seed_keys(results, SECOND)
    ]
    assert len(tests) == 3
    assert second.fresh.test == t_interval(tests)
    assert second.fresh.few_shot is None  # digits have no 500 images of a class


def test_optimism_of_fresh_seeds_is_their_validation_minus_their_test(reseeded_once):
    results = Results.read(reseeded_once)
    finalist = finalist_rows(results)[0]
    tests = [
        results.scores.knn_of(key, "test")
        .query("samples_per_class == 100 and n_neighbors == 10 and weights == 'distance'")["value"]
        .item()
        for key in sorted(fresh_seed_keys(results, SECOND), key=lambda key: key.training_seed)
    ]
    expected = sum(v - t for v, t in zip([0.90, 0.91, 0.92], tests, strict=True)) / 3
    assert finalist.fresh.optimism == pytest.approx(expected)


def test_without_fresh_seeds_there_is_none(evaluated_once):
    assert [finalist.fresh for finalist in finalist_rows(Results.read(evaluated_once))] == [None, None]
