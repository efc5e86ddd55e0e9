from rich.console import Console

from evaluation.report.summary import print_summary
from tests.tune.study.test_ranking import begin_extension


def printed(run) -> str:
    console = Console(record=True, width=100, force_terminal=False)
    print_summary(run, console)
    return console.export_text()


def test_the_ending_names_the_winner_compares_and_says_where_the_files_are(evaluated):
    text = printed(evaluated)
    assert "best 0001-conv-10d: " in text
    assert "KNN accuracy on the held-out test set with 10 dimensions" in text
    for name in ("raw pixels", "PCA", "VAE 0000-fc-4d"):
        assert name in text
    for path in (
        evaluated.report_file,
        evaluated.evaluations_file,
        evaluated.embeddings_dir,
        evaluated.figures_dir,
    ):
        assert str(path) in text


def test_a_search_without_evaluation_has_an_ending_too(study):
    assert printed(study) == ""


def test_fresh_seeds_have_a_table_and_the_verdict_is_said(reseeded):
    text = " ".join(printed(reseeded).split())
    assert "finalists retrained with fresh seeds" in text
    assert "0000-fc-4d 3 91.0 % [88.5, 93.5]" in text
    assert "0001-conv-10d 2, 1 failed 80.5 % [74.1, 86.9]" in text
    assert "The difference between first and second place is significant" in text
    assert "Optimism, validation minus test in points, with its 95 % interval: " in text


def test_of_an_evaluation_that_is_outdated_no_best_one_is_named(evaluated):
    begin_extension(evaluated, 300)
    text = " ".join(printed(evaluated).split())
    assert "its trials had a full budget of 3 epochs, now it is 300" in text
    assert "KNN accuracy, 10 neighbours" in text
    for gone in ("best 0001-conv-10d", "on the same test images, minus", "Optimism", "One training run"):
        assert gone not in text


def test_one_training_each_is_said_at_the_end(evaluated):
    text = " ".join(printed(evaluated).split())
    assert "One training run each: no interval; --finalist-seeds 3 gives one." in text
    assert "retrained" not in text
