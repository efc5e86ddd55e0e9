"""Somebody else's embedding, in a Parquet file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.__main__ import main
from evaluation.analysis.results import Results
from evaluation.api import evaluate
from evaluation.embedders import METHODS
from evaluation.embedders.precomputed import read_precomputed
from evaluation.pipeline import serial
from evaluation.record import EvaluationRecord
from tune.storage.run_directory import RunDirectory
from vae.errors import UsageError

CLASSES = ["cat", "dog"] * 60


def write(path, points, **columns):
    rows = [None if row is None else list(row) for row in points]
    pq.write_table(pa.table({"embedding": pa.array(rows), **columns}), path)
    return path


@pytest.fixture
def islands():
    labels = np.repeat(["cat", "dog"], 60)
    points = np.random.default_rng(0).normal(size=(120, 3)) + 50 * (labels == "dog")[:, None]
    return points, labels


def test_it_is_scored_and_reported_under_the_name_of_its_file(islands, tmp_path, capsys):
    points, labels = islands
    file = write(tmp_path / "mine.parquet", points, label=labels)
    output = RunDirectory(tmp_path / "output")
    evaluate(file, output=output.path, compute=serial.compute, progress=False)
    (row,) = Results.read(output).comparison
    assert (row.key.method, row.key.dim, row.test) == ("mine", 3, 1.0)
    assert row.structure["linear_probe_accuracy"] == 1
    assert "trustworthiness" not in row.structure  # there are no pixels
    assert "mine" in output.report_file.read_text()


@pytest.mark.parametrize("name", ["pca", "untrained", "vae"])
@pytest.mark.figures
def test_one_that_is_called_like_a_method_of_ours_is_not_taken_for_it(name, islands, tmp_path):
    points, labels = islands
    file = write(tmp_path / f"{name}.parquet", points[:, :2], label=labels)
    output = RunDirectory(tmp_path / "output")
    found = evaluate(file, output=output.path, compute=serial.compute, progress=False)
    assert found.comparison["embedding"].tolist() == [f"{name} (own)"]
    assert found.embedding(f"{name} (own)").shape == (24, 2)
    html = output.report_file.read_text()
    assert f"<td>{name} (own)</td>" in html
    assert f"<td>{METHODS[name].title}" not in html


def test_splits_are_kept_and_without_them_a_fifth_of_each_class_is_the_test(islands, tmp_path):
    points, labels = islands
    own = read_precomputed(write(tmp_path / "a.parquet", points, label=labels))
    assert np.bincount(own.images.test_labels).tolist() == [12, 12]
    assert own.class_names == ("cat", "dog")
    split = ["test" if row % 4 == 0 else "train" for row in range(120)]
    own = read_precomputed(write(tmp_path / "b.parquet", points, label=labels, split=split))
    np.testing.assert_allclose(own.embedding.test, points[::4], rtol=1e-6)


def test_other_labels_or_splits_are_scored_anew(islands, tmp_path):
    points, labels = islands
    output, values = RunDirectory(tmp_path / "output"), []
    for columns in (
        {"label": labels},
        {"label": np.roll(labels, 30)},
        {"label": labels, "split": ["test", "train"] * 60},
    ):
        evaluate(
            write(tmp_path / "a.parquet", points, **columns),
            output=output.path,
            compute=serial.compute,
            progress=False,
        )
        (row,) = Results.read(output).comparison
        values.append((row.test, EvaluationRecord.read(output.evaluation_file).n_test))
    assert values[0] == (1.0, 24)
    assert values[1][0] < 0.9
    assert values[2] == (1.0, 60)


def test_the_evaluation_of_a_study_is_not_replaced(islands, study, tmp_path):
    file = write(tmp_path / "a.parquet", islands[0], label=islands[1])
    with pytest.raises(UsageError, match="is the run directory of a study, whose evaluation would be lost"):
        main([str(file), "--output", str(study.path)])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda rows: rows.__setitem__(7, [1.0, float("nan"), 0.0]),
            "row 7 of column 'embedding' .* holds NaN",
        ),
        (lambda rows: rows.__setitem__(3, [1.0]), "row 3 of column 'embedding' .* has 1 numbers, must be 3"),
        (lambda rows: rows.__setitem__(0, None), "row 0 of column 'embedding' .* is no list of numbers"),
        (lambda rows: rows.clear(), "column 'embedding' .* has no rows"),
    ],
)
def test_points_that_are_none_are_named_by_their_row(islands, tmp_path, spoil, message):
    rows = islands[0].tolist()
    spoil(rows)
    with pytest.raises(UsageError, match=message):
        read_precomputed(write(tmp_path / "a.parquet", rows, label=islands[1][: len(rows)]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "has no column 'label'; there is nothing to score without classes"),
        ({"label": ["cat"] * 120}, "has one class, 'cat'; scores need at least two"),
        ({"label": CLASSES, "split": ["train"] * 120}, "has rows of one split only"),
        ({"label": CLASSES, "split": ["valid"] * 120}, "must be 'train', 'validation' or 'test'"),
    ],
)
def test_columns_that_do_not_fit_are_refused(islands, tmp_path, columns, message):
    with pytest.raises(UsageError, match=message):
        read_precomputed(write(tmp_path / "a.parquet", islands[0], **columns))


def test_a_table_without_an_embedding_is_refused(tmp_path):
    pq.write_table(pa.table({"vector": [[1.0]]}), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="has no column 'embedding', only vector"):
        read_precomputed(tmp_path / "a.parquet")


@pytest.mark.parametrize("points", [[["1", "2"]] * 120, [[[1.0, 2.0]] * 2] * 120, [1.0] * 120])
def test_what_is_no_list_of_numbers_is_refused(points, tmp_path):
    pq.write_table(pa.table({"embedding": points, "label": CLASSES}), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="must be lists of numbers"):
        read_precomputed(tmp_path / "a.parquet")


def test_the_command_wants_a_place_for_the_results(islands, tmp_path):
    file = write(tmp_path / "a.parquet", islands[0])
    with pytest.raises(UsageError, match="is an embedding: give a directory with --output"):
        main([str(file)])
