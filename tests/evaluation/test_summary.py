from rich.console import Console

from evaluation.summary import print_summary


def printed(run) -> str:
    console = Console(record=True, width=100, force_terminal=False)
    print_summary(run, console)
    return console.export_text()


def test_the_ending_names_the_winner_compares_and_says_where_the_files_are(evaluated):
    text = printed(evaluated)
    assert "best 0001-conv-10d: " in text
    assert "KNN accuracy on the sealed test set with 10 dimensions" in text
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
