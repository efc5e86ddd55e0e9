"""The cards of evaluated finalists have the test scores beside those of the search."""

from tune.storage.tables import read_table
from vae.model_card import CARD_FILE


def test_an_evaluation_adds_the_test_scores_with_their_interval(evaluated):
    text = (evaluated.checkpoint_dir("0001-conv-10d") / CARD_FILE).read_text()
    rows = read_table(evaluated.evaluations_file).to_pylist()
    [score] = [
        row
        for row in rows
        if (row["trial_id"], row["protocol"], row["metric"]) == ("0001-conv-10d", "test", "knn_accuracy")
        and (row["samples_per_class"], row["n_neighbors"], row["weights"]) == (None, 10, "distance")
    ]
    kept_neighbors = {
        row["metric"]: row["value"]
        for row in rows
        if row["trial_id"] == "0001-conv-10d" and row["metric"] in ("trustworthiness", "continuity")
    }
    assert len(kept_neighbors) == 2
    line = next(
        line for line in text.splitlines() if line.startswith("| KNN accuracy, 10 neighbours | test |")
    )
    assert f"| {score['value']:.4g} | {score['low']:.4f} to {score['high']:.4f} (359 images) |" in line
    for name, value in kept_neighbors.items():
        assert f"| {name} | test | {value:.4g} | – |" in text
    assert "validation, at the search" in text
    assert not (evaluated.checkpoint_dir("0004-fc-2d") / CARD_FILE).exists()
