"""The model cards of a search: what was compared, how the trial did, and never at the cost of the search."""

import logging

from tune.storage.tables import read_table
from tune.study.model_cards import write_model_cards
from vae.model_card import CARD_FILE


def write(study, change=lambda row: row):
    rows = [change(row) for row in read_table(study.trials_file).to_pylist()]
    write_model_cards(study, study.read_study(), rows, (1, 8, 8))


def card(study, trial_id):
    return (study.checkpoint_dir(trial_id) / CARD_FILE).read_text()


def test_each_kept_model_has_a_card_that_says_how_it_was_chosen(study):
    write(study)
    best, stopped = card(study, "0001-conv-10d"), card(study, "0002-fc-3d")
    assert "One of 5 trials of the search tiny, which compared them by `val_knn_accuracy` (higher is" in best
    assert "Among the 3 with the full budget it is number 1." in best
    assert "| KNN accuracy | validation, at the search | 0.95 |" in best
    assert "it is not compared (stopped_early, rung)." in stopped


def test_a_row_that_cannot_be_described_costs_its_card_alone(study, caplog):
    def damaged(row):
        return row | {"config_latent_dim": "many"} if row["number"] == 0 else row

    with caplog.at_level(logging.WARNING):
        write(study, damaged)
    assert "no model card of 0000-fc-4d" in caplog.text
    assert not (study.checkpoint_dir("0000-fc-4d") / CARD_FILE).exists()
    assert card(study, "0001-conv-10d")
