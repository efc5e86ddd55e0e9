"""What a search added, by tables that were written by hand."""

from dataclasses import replace

import pandas as pd
import pytest

from evaluation.analysis.gain import gain_sentence, search_gain
from evaluation.analysis.results import Results
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord
from tune.storage.tables import EPOCHS, FINALIST_SEEDS, TRIALS, write_table

# Values after epochs 1, 2, ...: who has four is trained in full.
CURVES = {
    "start": [0.70, 0.78, 0.80, 0.84],
    "bad-start": [0.60],
    "random-1": [0.50, 0.60],
    "random-2": [0.72, 0.75, 0.79, 0.82],
    "random-3": [0.55, 0.62],
    "random-4": [0.65, 0.70, 0.71],
    "sampler": [0.71, 0.77, 0.81, 0.86],
}


def results_of(path, curves, *, metric="val_knn_accuracy", mode="max", ends=None):
    """Return the results of a search of four epochs whose trials are named after who proposed them."""
    run = RunDirectory(path)
    arguments = {"max_epochs": 4, "trials": len(curves)}
    StudyRecord(name="s", arguments=arguments, objectives=[metric], modes=[mode]).write(run.study_file)
    best = max if mode == "max" else min
    trials, epochs = [], []
    for number, (name, curve) in enumerate(curves.items()):
        status, reason = ("completed", None) if len(curve) == 4 else ("stopped_early", "rung")
        status, reason = (ends or {}).get(name, (status, reason))
        proposal = "start" if "start" in name else name.partition("-")[0]
        row = {"study": "s", "trial_id": name, "number": number, "proposal": proposal, "status": status}
        trials.append(row | {"stop_reason": reason, "objective": best(curve), "epochs": len(curve)})
        for epoch, value in enumerate(curve, start=1):
            epochs.append({"study": "s", "trial_id": name, "epoch": epoch, metric: value})
    write_table(trials, TRIALS, run.trials_file)
    write_table(epochs, EPOCHS, run.epochs_file)
    return Results.read(run)


def with_fresh_seeds(results, fresh):
    rows = [
        dict.fromkeys(FINALIST_SEEDS.names) | {"trial_id": name, "status": "completed", "objective": value}
        for name, values in fresh.items()
        for value in values
    ]
    return replace(results, finalist_seeds=pd.DataFrame(rows))


def test_the_winner_is_compared_with_the_best_start_and_with_random_ones_at_an_epoch_that_all_reached(
    tmp_path,
):
    # All four random ones were there at epoch 2: .60, .62, .70, .75, whose median is .66.
    assert gain_sentence(results_of(tmp_path, CURVES)) == (
        "What the search added, by validation KNN accuracy: the winner sampler is +2.0 points ahead of the "
        "best starting point start (86.0 % against 84.0 %, one training each); after 2 epochs it was +11.0 "
        "points ahead of the median of 4 random proposals (77.0 % against 66.0 %)."
    )


def test_a_winner_that_is_a_starting_point_shows_that_nothing_was_added(tmp_path):
    curves = CURVES | {"start": [0.8, 0.85, 0.86, 0.9]}
    assert gain_sentence(results_of(tmp_path, curves)) == (
        "What the search added, by validation KNN accuracy: nothing to its starting points, of which the "
        "winner start is one; after 2 epochs it was +19.0 points ahead of the median of 4 random proposals "
        "(85.0 % against 66.0 %)."
    )


def test_a_winner_that_was_drawn_at_random_is_called_that(tmp_path):
    curves = {name: curve for name, curve in CURVES.items() if "sa" not in name and "start" not in name}
    assert gain_sentence(results_of(tmp_path, curves)) == (
        "What the search added, by validation KNN accuracy: after 2 epochs the winner random-2 was +9.0 "
        "points ahead of the median of 4 random proposals, one of which it is (75.0 % against 66.0 %)."
    )


def test_of_a_minimised_objective_less_is_ahead(tmp_path):
    curves = {name: [round(1 - value, 4) for value in curve] for name, curve in CURVES.items()}
    gain = search_gain(results_of(tmp_path, curves, metric="val_mse", mode="min"))
    assert (gain.winner, gain.over_start.trial_id) == ("sampler", "start")
    assert gain.over_start.difference.mean == pytest.approx(0.02)
    assert (gain.over_random.winner, gain.over_random.median) == pytest.approx((0.23, 0.34))


def test_what_failed_or_was_cut_short_is_not_among_the_random_ones(tmp_path):
    more = {"random-5": [0.1], "random-6": [0.1], "random-7": [0.1, 0.1]}
    ends = {"random-5": ("failed", "nan"), "random-6": ("stopped_early", "time_budget")}
    gain = search_gain(results_of(tmp_path, CURVES | more, ends=ends | {"random-7": ("failed", "collapsed")}))
    assert (gain.over_random.n, gain.over_random.epoch, gain.over_random.median) == (5, 2, 0.62)


def test_of_too_few_random_ones_nothing_is_said(tmp_path):
    curves = {name: curve for name, curve in CURVES.items() if name != "random-1"}
    results = results_of(tmp_path, curves)
    assert search_gain(results).over_random is None
    assert "random" not in gain_sentence(results)


def test_fresh_seeds_give_an_interval(tmp_path):
    results = results_of(tmp_path, CURVES)
    # Mean .85 and standard deviation .01: with two degrees of freedom 4.303 * .01 / sqrt(3) = .0248.
    one = with_fresh_seeds(results, {"sampler": [0.84, 0.85, 0.86]})
    assert (
        "+1.0 points ahead of the best starting point start (85.0 % against 84.0 %; mean of 3 fresh seeds "
        "against its one training, 95 % interval −1.5 to +3.5)"
    ) in gain_sentence(one)
    # Equal variances and numbers: Welch's four degrees of freedom, 2.776 * .01 * sqrt(2 / 3) = .0227.
    both = with_fresh_seeds(results, {"sampler": [0.84, 0.85, 0.86], "start": [0.81, 0.82, 0.83]})
    assert (
        "+3.0 points ahead of the best starting point start (85.0 % against 82.0 %; mean of 3 fresh seeds "
        "against 3 of the other, 95 % interval +0.7 to +5.3)"
    ) in gain_sentence(both)


def test_of_a_study_that_does_not_know_who_proposed_nothing_is_said(tmp_path):
    results = results_of(tmp_path, CURVES)
    unknown = replace(results, trials=results.trials.assign(proposal=None))
    assert search_gain(unknown) is None
    assert gain_sentence(unknown) is None
