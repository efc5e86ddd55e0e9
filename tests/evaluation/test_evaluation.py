"""The object that `evaluate` and `load` return."""

import numpy as np
import pytest

import evaluation
from evaluation.__main__ import main
from evaluation.embedders import EmbeddingKey
from evaluation.embedders.files import read_embedding
from evaluation.pipeline import run as pipeline_run
from evaluation.pipeline import serial
from tests.evaluation.conftest import BEST, SECOND
from tune.storage.tables import read_table
from vae.errors import UsageError


@pytest.fixture(scope="module")
def result(evaluated_once):
    return evaluation.load(evaluated_once.path)


def test_the_scores_are_the_table_on_disk(result, evaluated_once):
    assert len(result.scores) == read_table(evaluated_once.evaluations_file).num_rows
    assert (result.name, result.location) == ("tiny", str(evaluated_once.path))


def test_the_comparison_has_a_row_for_each_embedding_the_best_first(result):
    table = result.comparison
    assert len(table) == 6
    assert table["test"].is_monotonic_decreasing
    assert table["test"].between(table["test_low"], table["test_high"]).all()
    pca = table.query("method == 'pca' and dim == 10").iloc[0]
    scores = result.scores.query(
        "method == 'pca' and dim == 10 and metric == 'knn_accuracy' and n_neighbors == 10 "
        "and weights == 'distance' and samples_per_class.isna()"
    )
    assert pca["test"] == scores.query("protocol == 'test'")["value"].item()
    assert pca["cv"] == pytest.approx(scores.query("protocol == 'cv'")["value"].mean())


def test_an_embedding_is_that_of_the_best_trial_unless_another_is_named(result, evaluated_once):
    own = {trial_id: EmbeddingKey("vae", dim, trial_id, 0) for trial_id, dim in ((BEST, 10), (SECOND, 4))}
    stored = {trial_id: read_embedding(evaluated_once.embeddings_dir, key) for trial_id, key in own.items()}
    np.testing.assert_array_equal(result.embedding("vae"), stored[BEST].test)
    np.testing.assert_array_equal(result.embedding("vae", split="train"), stored[BEST].train)
    np.testing.assert_array_equal(result.embedding("vae", trial_id=SECOND), stored[SECOND].test)


def test_an_embedding_without_a_dimension_is_the_closest_to_the_best_vaes(result):
    assert result.embedding("pca").shape[1] == 10
    assert result.embedding("pca", dim=2).shape[1] == 2
    assert result.embedding("raw").shape[1] == 64


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"method": "umap"}, "there is no embedding umap in .*, only raw 64-d, pca 2-d"),
        ({"method": "pca", "dim": 3}, "there is no embedding pca 3-d in"),
        ({"method": "pca", "split": "validation"}, "split must be one of train, test, got 'validation'"),
    ],
)
def test_an_embedding_that_is_not_there_is_refused_with_those_that_are(result, asked, message):
    with pytest.raises(UsageError, match=message):
        result.embedding(**asked)


def test_report_and_figures_are_files(result):
    assert result.report.is_file()
    assert {file.stem for file in result.figures} >= {"accuracy", "latent_spaces", "confusion"}


def test_a_notebook_shows_the_comparison_and_the_figures(result):
    html = result._repr_html_()
    assert html.count("<tr") == 7
    assert html.count("data:image/png;base64,") == 2
    assert repr(result).startswith("<Evaluation of tiny: 6 embeddings in ")


def test_what_is_not_evaluated_yet_is_not_loaded(study):
    with pytest.raises(UsageError, match="is not evaluated yet; evaluate it with evaluation.evaluate"):
        evaluation.load(study.path)


class HasALocation:
    def __init__(self, location):
        self.location = location


def test_a_study_its_path_and_the_command_give_the_same_scores(study, monkeypatch):
    options = {"methods": ["pca", "vae"], "dims": [2], "finalists": 1, "compute": serial.compute}
    results = [
        evaluation.evaluate(subject, **options, progress=False)
        for subject in (HasALocation(str(study.path)), study.path, str(study.path))
    ]
    tables = [result.scores for result in results]
    monkeypatch.setattr(pipeline_run, "_on_ray", lambda options: serial.compute)
    assert main([str(study.path), "--methods", "pca,vae", "--dims", "2", "--finalists", "1"]) == 0
    tables.append(evaluation.load(study.path).scores)
    for table in tables[1:]:
        assert table.equals(tables[0])


@pytest.mark.parametrize(
    ("subject", "options", "message"),
    [
        ("RUN", {"dataset": "digits"}, "dataset and output are for checkpoints: a study has its own of both"),
        ("RUN/checkpoints", {}, "0000-fc-4d is a checkpoint: give its images as dataset, and an output"),
        ("mine.parquet", {}, "mine.parquet is an embedding: give a directory as output, and no dataset"),
        (["RUN/figures"], {}, "there is no checkpoint in"),
        ([], {}, "there is no checkpoint in"),
        ("RUN", {"n_neighbors": [0, 5]}, "n_neighbors must be numbers >= 1, got 0, 5"),
        ("RUN", {"cpus": 0}, "cpus must be >= 1, got 0"),
        ("RUN", {"cpus": 1, "address": "auto"}, "leave it or address out"),
        ("RUN/checkpoints", {"dataset": "digits", "output": "RUN"}, "is the run directory of a study"),
    ],
)
def test_bad_arguments_are_refused_in_the_words_of_python(study, subject, options, message):
    def placed(value):
        return value.replace("RUN", str(study.path)) if isinstance(value, str) else value

    subject = [placed(path) for path in subject] if isinstance(subject, list) else placed(subject)
    options = {name: placed(value) for name, value in options.items()}
    with pytest.raises(UsageError, match=message):
        evaluation.evaluate(subject, **options, compute=serial.compute)


def test_the_neighbours_asked_for_are_counted_beside_the_reported_ones(study):
    options = {"methods": ["pca"], "dims": [2], "compute": serial.compute, "progress": False}
    scores = evaluation.evaluate(study.path, n_neighbors=[3], **options).scores
    assert set(scores["n_neighbors"].dropna()) >= {3, 10}
    assert set(scores.query("metric == 'knn_accuracy'")["n_neighbors"]) == {3, 10}


def test_checkpoints_are_evaluated_on_arrays(study, few_digits, tmp_path):
    images = few_digits.train.images[:, 0].numpy(), few_digits.train.labels.numpy()
    options = {"methods": ["pca", "vae"], "dims": [2], "compute": serial.compute, "progress": False}
    checkpoint = study.checkpoint_dir(SECOND)
    result = evaluation.evaluate(checkpoint, dataset=images, output=tmp_path / "out", **options)
    assert list(result.comparison["method"].sort_values()) == ["pca", "vae"]
    sizes = [len(result.embedding("vae", split=split)) for split in ("train", "test")]
    assert sum(sizes) == len(images[0])
