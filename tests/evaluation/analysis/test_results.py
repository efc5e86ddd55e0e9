import json

import numpy as np
import pytest

from evaluation.analysis.finalists import fresh_seed_keys
from evaluation.analysis.results import Results
from evaluation.embedders import EmbeddingKey
from evaluation.embedders.files import read_embedding
from tests.evaluation.conftest import BEST, SECOND, add_objective
from tune.storage.tables import read_table, write_table
from vae.data import load_dataset
from vae.metrics.knn import knn_accuracy


@pytest.fixture(scope="module")
def results(evaluated_once):
    return Results.read(evaluated_once)


def test_the_comparison_holds_what_a_direct_measurement_gives(results, evaluated_once):
    digits = load_dataset("digits")
    for row in results.comparison:
        embedding = read_embedding(evaluated_once.embeddings_dir, row.key)
        measured = knn_accuracy(embedding.train, digits.train.labels, embedding.test, digits.test.labels)
        assert row.test == pytest.approx(measured, abs=1e-12)  # k=10, distance weights, all training images
        assert row.few_shot is None  # digits have no 500 images of a class


def test_cross_validation_is_the_mean_and_spread_over_the_folds(results):
    row = results.comparison.rows[0]
    table = results.scores.knn_of(row.key, "cv").query(
        "n_neighbors == 10 and weights == 'distance' and samples_per_class.isna()"
    )
    assert len(table) == 5
    assert row.cv == pytest.approx(np.mean(table["value"]))
    assert row.cv_std == pytest.approx(np.std(table["value"], ddof=1))


def test_embeddings_are_ordered_by_method_and_finalists_best_first(results):
    assert [str(key) for key in results.comparison.keys] == [
        "raw 64-d", "pca 2-d", "pca 4-d", "pca 10-d",
        "vae-0001-conv-10d-seed0 10-d", "vae-0000-fc-4d-seed0 4-d",
    ]  # fmt: skip


def test_the_winner_is_the_best_on_validation_not_on_test(results):
    assert results.winner == "0001-conv-10d"
    assert results.comparison.winner.key == EmbeddingKey("vae", 10, "0001-conv-10d", 0)


def test_baselines_are_taken_at_the_winners_dimension(results):
    assert results.comparison.closest("pca").key == EmbeddingKey("pca", 10)
    assert results.comparison.closest("raw").key == EmbeddingKey("raw", 64)
    assert results.comparison.closest("umap") is None


def test_a_search_without_evaluation_has_a_winner_but_no_scores(study):
    results = Results.read(study)
    assert (results.winner, results.comparison.winner, results.comparison.rows) == ("0001-conv-10d", None, [])


def test_an_empty_directory_has_neither(tmp_path):
    from tune.storage.run_directory import RunDirectory

    results = Results.read(RunDirectory(tmp_path))
    assert (results.winner, results.comparison.rows, results.name) == (None, [], "")


def test_fresh_seeds_decide_who_comes_first(reseeded_once):
    results = Results.read(reseeded_once)
    assert results.finalists == [SECOND, BEST]
    assert results.winner == SECOND


def test_the_comparison_has_one_row_for_each_finalist_its_own_model(reseeded_once):
    results = Results.read(reseeded_once)
    assert [row.key for row in results.comparison] == [
        EmbeddingKey("pca", 2), EmbeddingKey("vae", 4, SECOND, 0), EmbeddingKey("vae", 10, BEST, 0),
    ]  # fmt: skip
    assert [key.training_seed for key in fresh_seed_keys(results, SECOND)] == [1, 2, 3]


def test_results_of_a_version_before_seeds_and_fronts_are_read(evaluated):
    for path, column in ((evaluated.evaluations_file, "training_seed"), (evaluated.trials_file, "pareto")):
        table = read_table(path).drop_columns([column])
        write_table(table, table.schema, path)
    record = json.loads(evaluated.evaluation_file.read_text())
    del record["training_seeds"]
    evaluated.evaluation_file.write_text(json.dumps(record))
    results = Results.read(evaluated)
    assert results.comparison.winner.key == EmbeddingKey("vae", 10, BEST)
    assert len(results.comparison) == 6


def test_sizes_are_values_of_objectives_that_no_epoch_has(study):
    add_objective(study, {}, front={SECOND})
    record = study.read_study()
    record.objectives, record.modes = (
        ["val_knn_accuracy", "latent_dim", "n_parameters"],
        ["max", "min", "min"],
    )
    record.write(study.study_file)
    values = Results.read(study).objective_values.set_index("trial_id")
    assert values.loc[SECOND, record.objectives].tolist() == [0.9, 4, 1234]


def test_trials_on_the_front_come_before_better_ones_behind_it(study):
    add_objective(study, {SECOND: 0.5, "0004-fc-2d": 0.9, BEST: 0.4}, front={"0004-fc-2d", SECOND})
    results = Results.read(study)
    assert results.ranked_trials["trial_id"].tolist()[:3] == [SECOND, "0004-fc-2d", BEST]
    assert results.winner == SECOND
    values = results.objective_values.set_index("trial_id")
    assert values.loc["0004-fc-2d", ["val_knn_accuracy", "val_ssim"]].tolist() == [0.8, 0.9]
