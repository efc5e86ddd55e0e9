"""Studies against the first of them."""

import json
import shutil

import pytest
from rich.console import Console

from evaluation.__main__ import main
from evaluation.analysis.results import Results
from evaluation.analysis.study_comparison import pairs
from evaluation.report.compare_studies import compare_runs
from evaluation.result_tables import PREDICTIONS
from tests.evaluation.conftest import BEST
from tests.tune.study.test_ranking import begin_extension
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table, write_table
from vae.errors import UsageError


@pytest.fixture
def other(evaluated, tmp_path):
    """The same study, but for the predictions of its best VAE: ten images more are wrong."""
    run = RunDirectory(shutil.copytree(evaluated.path, tmp_path / "other"))
    rows, spoiled = read_table(run.predictions_file).to_pylist(), 0
    for row in rows:
        if row["trial_id"] == BEST and row["samples_per_class"] is None and spoiled < 10:
            spoiled += row["predicted"] == row["label"]
            row["predicted"] = -1
    write_table(rows, PREDICTIONS, run.predictions_file)
    return run


def test_what_is_the_same_in_both_has_no_difference_and_the_best_vaes_have_theirs(evaluated, other):
    first, second = Results.read(evaluated), Results.read(other)
    found = {pair.name: pair.difference for pair in pairs([first, second])}
    assert {"raw pixels 64-d", "PCA 2-d", "PCA 10-d", "best VAE"} <= found.keys()
    assert (found["PCA 2-d"].difference, found["PCA 2-d"].p_value) == (0, 1)
    assert found["best VAE"].difference == pytest.approx(
        -10 / len(first.scores.is_correct(first.comparison.winner.key))
    )
    assert found["best VAE"].p_value == pytest.approx(2 * 0.5**10)


def test_the_command_prints_both(evaluated, other, capsys):
    assert main(["compare", str(evaluated.path), str(other.path)]) == 0
    out = capsys.readouterr().out
    assert "best VAE" in out
    assert BEST in out


def test_a_study_that_is_not_evaluated_is_said_with_the_way_out(evaluated, tmp_path):
    bare = RunDirectory(shutil.copytree(evaluated.path, tmp_path / "bare"))
    bare.evaluations_file.unlink()
    with pytest.raises(UsageError, match="has no scores yet; say `python -m evaluation .*bare`"):
        compare_runs([evaluated, bare], Console())


def test_a_study_that_has_changed_since_is_named_and_has_no_best_vae(evaluated, other, capsys):
    begin_extension(other, 300)
    assert main(["compare", str(evaluated.path), str(other.path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "its trials had a full budget of 3 epochs, now it is 300" in out
    assert out.count(", best VAE 0001-conv-10d") == 1


def test_what_is_no_study_is_compared_too(evaluated, other):
    other.study_file.unlink()
    assert main(["compare", str(evaluated.path), str(other.path)]) == 0


def test_studies_of_different_images_are_not_compared(evaluated, other):
    record = json.loads(other.evaluation_file.read_text())
    record["dataset"]["fingerprint"] = "0000"
    other.evaluation_file.write_text(json.dumps(record))
    with pytest.raises(UsageError, match="are of different images"):
        compare_runs([evaluated, evaluated, other], Console())


def test_each_study_is_compared_with_the_first_and_the_table_says_that_there_are_several(
    evaluated, other, capsys
):
    assert main(["compare", *(str(run.path) for run in (evaluated, other, evaluated))]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.strip().startswith("best VAE  ")]
    assert [row[2] for row in rows] == ["B", "C"]
    assert (rows[0][-1], rows[1][-1]) == ("0.004", "1.000")  # 2 * 2 * 0.5 ** 10, and nothing differs
    assert "2 studies are compared with A" in " ".join(lines)


def test_of_two_studies_nothing_is_said_about_several(evaluated, other, capsys):
    main(["compare", str(evaluated.path), str(other.path)])
    assert "Bonferroni" not in capsys.readouterr().out


@pytest.mark.figures
@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_figure_goes_where_it_is_asked_for(evaluated, other, tmp_path, suffix):
    file = tmp_path / "new" / f"mine.{suffix}"
    main(["compare", str(evaluated.path), str(other.path), "--output", str(file)])
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes()[:4] in (b"\x89PNG", b"<?xm", b"%PDF")


@pytest.mark.parametrize(
    ("n", "output", "words"),
    [
        (1, "mine.png", "2 to 26 studies can be compared, got 1"),
        (27, "mine.png", "2 to 26 studies can be compared, got 27"),
        (2, "mine.jpeg", "the figure must end in .png, .svg or .pdf, got 'mine.jpeg'"),
        (2, "mine", "the figure must end in .png, .svg or .pdf, got 'mine'"),
    ],
)
def test_what_cannot_be_compared_or_drawn_is_refused(evaluated, n, output, words):
    with pytest.raises(UsageError, match=words):
        main(["compare", *[str(evaluated.path)] * n, "--output", output])
