"""Finalists beside their fresh seeds, which are those of `write_fresh_seeds`."""

import pytest
import torch

from evaluation.analysis.finalists import finalist_rows, fresh_seed_keys, unselected_optimism
from evaluation.analysis.results import Results
from evaluation.embedders import EmbeddingKey
from evaluation.embedders.files import read_embedding
from evaluation.result_tables import EVALUATIONS
from evaluation.scores.confidence import share_difference, t_interval
from evaluation.scores.settings import ALL_IMAGES_K10
from tests.evaluation.conftest import BEST, SECOND
from tune.storage.tables import read_table, write_table
from tune.trials.data import TrialData
from vae.checkpoint import load_model
from vae.data import load_dataset
from vae.data.splits import split_validation
from vae.metrics.knn import knn_accuracy


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
        results.scores.as_searched(key, "test")[0]
        for key in sorted(fresh_seed_keys(results, SECOND), key=lambda key: key.training_seed)
    ]
    expected = sum(v - t for v, t in zip([0.90, 0.91, 0.92], tests, strict=True)) / 3
    assert finalist.fresh.optimism == pytest.approx(expected)


def test_validation_as_the_evaluation_measures_it_is_what_the_search_reported(evaluated_once):
    scores, data = Results.read(evaluated_once).scores, TrialData.from_dataset(load_dataset("digits"), seed=0)
    for trial_id, dim in ((BEST, 10), (SECOND, 4)):
        model = load_model(evaluated_once.checkpoint_dir(trial_id)).model
        value, n = scores.as_searched(EmbeddingKey("vae", dim, trial_id, 0), "validation")
        assert value == pytest.approx(data.knn(torch.device("cpu"))(model), abs=1 / n)
        assert n == len(data.query_index)


def test_optimism_is_measured_on_the_references_of_the_search_and_has_an_interval(evaluated_once):
    results = Results.read(evaluated_once)
    digits, data = load_dataset("digits"), TrialData.from_dataset(load_dataset("digits"), seed=0)
    rows = split_validation(digits.train, seed=0).train_index.numpy()[data.reference_index]
    for finalist in finalist_rows(results):
        found = read_embedding(evaluated_once.embeddings_dir, finalist.row.key)
        test = knn_accuracy(
            found.train[rows], digits.train.labels.numpy()[rows], found.test, digits.test.labels.numpy()
        )
        assert finalist.test_as_searched == pytest.approx(test)
        assert finalist.optimism.difference == pytest.approx(finalist.validation - test)
        assert finalist.optimism == share_difference(finalist.validation, len(data.query_index), test, 359)
    cells = results.evaluations.query("metric == 'knn_accuracy_as_searched'")
    assert set(cells["n_train"]) == {len(data.reference_index)}
    assert set(cells["seed"]) == {0}


def test_what_was_not_selected_is_measured_too(evaluated_once):
    results = Results.read(evaluated_once)
    row, difference = unselected_optimism(results)
    assert (row.key, abs(difference) < 0.05) == (EmbeddingKey("pca", 10), True)


def test_an_evaluation_of_an_older_version_has_no_optimism(evaluated):
    rows = [
        row
        for row in read_table(evaluated.evaluations_file).to_pylist()
        if row["metric"] != "knn_accuracy_as_searched"
    ]
    write_table(rows, EVALUATIONS, evaluated.evaluations_file)
    results = Results.read(evaluated)
    assert [finalist.optimism for finalist in finalist_rows(results)] == [None, None]
    assert unselected_optimism(results) is None


def test_without_fresh_seeds_there_is_none(evaluated_once):
    assert [finalist.fresh for finalist in finalist_rows(Results.read(evaluated_once))] == [None, None]
