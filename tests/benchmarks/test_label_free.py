"""What `label_free` computes, by hand."""

import pandas as pd
import pytest

from tests.benchmarks.label_free import CANDIDATES, at_epoch, at_last_epoch, correlation, cost, interval

EPOCHS = pd.DataFrame(
    {
        "trial_id": ["a", "a", "b", "b", "c", "d"],
        "epoch": [1, 2, 1, 2, 1, 1],
        "val_knn_accuracy": [0.5, 0.9, 0.6, 0.8, 0.4, None],
    }
).assign(**{name: [1.0, 3.0, 2.0, 4.0, 0.5, 9.0] for name in CANDIDATES})


def test_trials_are_compared_at_one_epoch_or_at_the_last_of_each():
    assert at_epoch(EPOCHS, 1)["trial_id"].tolist() == ["a", "b", "c"]
    last = at_last_epoch(EPOCHS).sort_values("trial_id")
    assert last[["trial_id", "epoch"]].to_numpy().tolist() == [["a", 2], ["b", 2], ["c", 1]]


def test_a_candidate_that_orders_all_alike_has_correlation_one_and_costs_nothing():
    rows = at_epoch(EPOCHS, 1)
    assert (correlation(rows, "val_ssim"), cost(rows, "val_ssim")) == (pytest.approx(1), 0)
    assert correlation(rows, "val_mse") == pytest.approx(-1)  # lower is better
    assert cost(rows, "val_mse") == pytest.approx(0.2)


def test_the_interval_holds_the_correlation():
    rows = at_last_epoch(EPOCHS)
    low, high = interval(rows, "val_ssim")
    assert -1 <= low <= correlation(rows, "val_ssim") <= high <= 1
