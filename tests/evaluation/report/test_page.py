import base64
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from rich.console import Console

from evaluation.analysis.finalists import finalist_rows, unselected_optimism
from evaluation.analysis.results import Results
from evaluation.analysis.statements import optimism_sentence, verdict
from evaluation.figures import FIGURES, SEARCH_FIGURES
from evaluation.report.page import render_report, write_report
from evaluation.result_tables import EVALUATIONS
from tests.evaluation.conftest import BEST, SECOND, add_objective
from tests.evaluation.searches import write_search
from tests.tune.study.test_ranking import begin_extension
from tune.__main__ import _Evaluation
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import TRIALS, read_table, write_table


class Page(HTMLParser):
    """Collects the text of a page, what it loads, and checks that its tags are closed."""

    def __init__(self, html):
        super().__init__()
        self.text, self.sources, self.open = "", [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += " ".join(data.split()) + " "  # no-break spaces too


@pytest.fixture(scope="module")
def page(evaluated_once):
    return Page(evaluated_once.report_file.read_text())


def test_the_report_needs_no_other_file(page):
    # The icon and the figures, without latent spaces and parallel coordinates, which are interactive, the
    # front of a single objective, and the importance and rungs of five trials that no scheduler judged.
    assert len(page.sources) == 1 + len(FIGURES) - 5
    assert all(source.startswith("data:") for source in page.sources)


def test_the_headline_is_the_winner_on_the_test_set(page, evaluated_once):
    row = Results.read(evaluated_once).comparison.winner
    assert f"10 numbers per image, {100 * row.test:.1f} % KNN accuracy on the held-out test set" in page.text
    assert "0001-conv-10d" in page.text


def test_every_embedding_trial_and_gap_is_in_it(page, evaluated_once):
    results = Results.read(evaluated_once)
    for name in [*results.trials["trial_id"], *results.evaluation.gaps, "raw pixels", "PCA"]:
        assert name in page.text
    for row in results.comparison:
        low, high = row.test_interval
        assert f"{100 * row.test:.1f} % [{100 * low:.1f}, {100 * high:.1f}]" in page.text


def test_provenance_is_in_it(page):
    for fact in ("0123456789ab", "python 3.11", "a processor", "84 % of the workers' time", "fingerprint"):
        assert fact in page.text


def test_optimism_compares_validation_with_a_test_of_as_many_references(evaluated_once):
    results = Results.read(evaluated_once)
    finalist = finalist_rows(results)[0]
    expected, n = results.scores.as_searched(finalist.row.key, "test")
    assert n == results.evaluation.n_test
    assert finalist.optimism.difference == pytest.approx(0.95 - expected)


@pytest.mark.figures
def test_a_lost_test_round_leaves_a_gap_and_no_old_picture(evaluated):
    rows = read_table(evaluated.evaluations_file).to_pylist()
    kept = [row for row in rows if row["method"] == "vae" and row["protocol"] == "cv"]
    write_table(kept, EVALUATIONS, evaluated.evaluations_file)
    (evaluated.figures_dir / "latent_spaces.png").write_bytes(b"of the evaluation before")
    write_report(evaluated)
    page = evaluated.report_file.read_text()
    assert "Finalists" in page
    assert not (evaluated.figures_dir / "latent_spaces.png").exists()
    assert base64.b64encode(b"of the evaluation before").decode() not in page


@pytest.mark.figures
def test_an_extension_that_was_only_begun_keeps_what_is_true_of_the_evaluation_but_no_headline(
    evaluated,
):
    drawn = {path.name: path.read_bytes() for path in evaluated.figures_dir.iterdir()}
    begin_extension(evaluated, 300, t0={"epochs": 17, "objective": 0.99})
    session = SimpleNamespace(run=evaluated, record=evaluated.read_study())
    _Evaluation().report(session, Console())
    page = Page(evaluated.report_file.read_text())
    assert "Best trial: 0000-fc-4d" in page.text
    assert Results.read(evaluated).outdated in page.text
    for gone in ("numbers per image", "Optimism", "validation beside test", "minus that of each baseline"):
        assert gone not in page.text
    for kept in ("Comparison (earlier evaluation)", "Latent spaces (earlier evaluation)"):
        assert kept in page.text
    assert 'id="explorer-data"' in evaluated.report_file.read_text()
    assert page.text.count("Of the earlier evaluation.") == 7
    later = {path.name: path.read_bytes() for path in evaluated.figures_dir.iterdir()}
    assert later.keys() == drawn.keys()
    of_trials = {f"{name}.{kind}" for name in SEARCH_FIGURES for kind in ("png", "svg")}
    assert {name for name in drawn if later[name] != drawn[name]} <= of_trials


def test_an_extension_by_trials_that_was_interrupted_keeps_headline_figures_and_explorer(evaluated):
    rows = read_table(evaluated.trials_file).to_pylist()
    begun = {"trial_id": "0005-fc-8d", "number": 5, "status": "stopped_early", "objective": 0.99, "epochs": 1}
    write_table([*rows, rows[0] | begun | {"stop_reason": "interrupted"}], TRIALS, evaluated.trials_file)
    before = sorted(evaluated.figures_dir.iterdir())
    _Evaluation().report(SimpleNamespace(run=evaluated, record=evaluated.read_study()), Console())
    html = evaluated.report_file.read_text()
    assert "10 numbers per image" in Page(html).text
    assert 'id="explorer-data"' in html
    assert sorted(evaluated.figures_dir.iterdir()) == before


def test_a_search_without_evaluation_has_its_report(study):
    write_report(study)
    page = Page(study.report_file.read_text())
    assert "Best trial: 0001-conv-10d" in page.text
    assert "the test set is still unused" in page.text


def test_a_search_in_which_no_trial_finished_has_its_report(study):
    trials = [row for row in read_table(study.trials_file).to_pylist() if row["status"] != "completed"]
    write_table(trials, TRIALS, study.trials_file)
    write_report(study)
    page = Page(study.report_file.read_text())
    assert "No trial completed" in page.text
    assert "1 stopped at a rung; 1 failed: NaN loss." in page.text


def test_a_search_without_any_trial_has_its_report(study):
    write_table([], TRIALS, study.trials_file)
    study.epochs_file.unlink()
    write_report(study)
    assert "No trial completed" in Page(study.report_file.read_text()).text


def test_names_cannot_smuggle_markup_in(study):
    trials = read_table(study.trials_file).to_pylist()
    trials[0] |= {"trial_id": "<script>alert(1)</script>"}
    write_table(trials, TRIALS, study.trials_file)
    html = render_report(Results.read(study), study.figures_dir)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html  # in tables
    assert "\\u003cscript\\u003ealert" in html  # in the interactive view


def test_an_output_without_a_study_has_its_report(evaluated):
    for file in (evaluated.study_file, evaluated.trials_file, evaluated.epochs_file):
        file.unlink()
    write_report(RunDirectory(evaluated.path))
    assert "10 numbers per image" in Page(evaluated.report_file.read_text()).text


def test_fresh_seeds_are_in_the_report_with_their_intervals_and_the_verdict(reseeded_once):
    page = Page(reseeded_once.report_file.read_text())
    results = Results.read(reseeded_once)
    assert "Finalists retrained with fresh seeds" in page.text
    assert "2, 1 failed" in page.text
    assert "91.0 % [88.5, 93.5]" in page.text  # 0.90, 0.91, 0.92: 4.30 x 0.01 / sqrt(3)
    assert verdict(results) in page.text
    assert optimism_sentence(finalist_rows(results), unselected_optimism(results)) in page.text


def test_one_training_each_is_said_in_the_report(page):
    assert "One training run each: no interval; --finalist-seeds 3 gives one." in page.text
    assert "Finalists retrained with fresh seeds" not in page.text


@pytest.mark.figures
def test_several_objectives_have_a_section_with_the_front(study):
    add_objective(study, {BEST: 0.4, SECOND: 0.56789, "0002-fc-3d": 0.9}, front={BEST, SECOND})
    write_report(study)
    page = Page(study.report_file.read_text())
    assert "2 objectives" in page.text
    assert "SSIM, higher is better" in page.text
    assert "0.5679" in page.text
    assert len(page.sources) == 1 + 2  # icon, learning curves, front


@pytest.mark.figures
def test_the_search_has_a_section_with_its_interactive_view_and_its_pictures(tmp_path):
    run = write_search(tmp_path / "run")
    write_report(run)
    html = run.report_file.read_text()
    page = Page(html)
    assert "<h2>Search</h2>" in html
    assert "<h2>Figures</h2>" not in html
    assert 'id="search-view"' in html
    assert len(page.sources) == 1 + 3  # icon, importance, learning curves, rung ladder
    assert all(figure in html for figure in (FIGURES["importance"].split(":")[0], FIGURES["rung_ladder"]))
    assert "31 stopped at a rung; 4 completed; 1 " in page.text
    assert "1 failed: out of memory" in page.text


def test_several_objectives_without_a_finished_trial_have_a_report_too(study):
    add_objective(study, {}, front=set())
    write_report(study)
    text = Page(study.report_file.read_text()).text
    assert "No completed trial has a value for each of them." in text
