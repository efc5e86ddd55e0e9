"""The sentences of the report; fresh seeds are those of `write_fresh_seeds`."""

from dataclasses import replace

import pytest

from evaluation.analysis.finalists import finalist_rows
from evaluation.analysis.results import Results
from evaluation.analysis.statements import optimism_sentence, verdict
from evaluation.embedders import EmbeddingKey
from tests.evaluation.conftest import BEST, SECOND, write_fresh_seeds
from tune.storage.tables import TRIALS, read_table, write_table


def verdict_of(run, fresh, **study):
    write_fresh_seeds(run, fresh)
    replace(run.read_study(), **study).write(run.study_file)
    return verdict(Results.read(run))


def test_the_optimism_sentence_names_the_average_and_each_finalist(reseeded_once, evaluated_once):
    finalists = finalist_rows(Results.read(evaluated_once))
    each = [
        "{} [{}, {}]".format(
            *(f"{100 * value:+.1f}".replace("-", "−") for value in (o.difference, o.low, o.high))
        )
        for o in (finalist.optimism for finalist in finalists)
    ]
    mean = f"{100 * sum(finalist.optimism.difference for finalist in finalists) / 2:+.1f}".replace("-", "−")
    start = "Optimism, validation minus test in points, with its 95 % interval: "
    holds = " It holds the effect of selection and the difference between the two sets of images"
    text = f"{start}{mean} on average ({BEST} {each[0]}, {SECOND} {each[1]}).{holds}"
    assert optimism_sentence(finalists) == f"{text}."
    pca = finalists[0].row.__class__.from_scores(Results.read(evaluated_once).scores, EmbeddingKey("pca", 10))
    assert optimism_sentence(finalists, (pca, -0.012)) == (
        f"{text}; for PCA (10-d), where nothing was selected, it is −1.2."
    )
    assert "; with fresh seeds " in optimism_sentence(finalist_rows(Results.read(reseeded_once)))
    assert optimism_sentence(finalists[:1]) == f"{start}{BEST} {each[0]}.{holds}."
    assert optimism_sentence([]) is None


def test_a_difference_within_the_spread_of_the_seeds_is_not_significant(evaluated):
    text = verdict_of(evaluated, {BEST: [0.90, 0.94, 0.92], SECOND: [0.89, 0.91, 0.93]})
    assert text == (
        "The difference between first and second place is not significant: over 3 fresh seeds each, "
        "0001-conv-10d is +1.0 points of validation KNN accuracy ahead of 0000-fc-4d, "
        "95 % interval −3.5 to +5.5, which includes 0."
    )


def test_a_difference_beyond_the_spread_of_the_seeds_is_significant(evaluated):
    text = verdict_of(evaluated, {BEST: [0.80, 0.81], SECOND: [0.90, 0.91, 0.92]})
    assert text.startswith(
        "The difference between first and second place is significant: over 3 and 2 fresh seeds, "
        "0000-fc-4d is +10.5 points of validation KNN accuracy ahead of 0001-conv-10d, "
    )
    assert text.endswith("which excludes 0.")


def test_where_smaller_is_better_the_difference_is_positive_too(evaluated):
    fresh = {BEST: [0.30, 0.31, 0.32], SECOND: [0.10, 0.11, 0.12]}
    rows = read_table(evaluated.trials_file).to_pylist()
    lower = {BEST: 0.1, SECOND: 0.2}  # the same finalists
    rows = [row | {"objective": lower.get(row["trial_id"], 0.9)} for row in rows]
    write_table(rows, TRIALS, evaluated.trials_file)
    text = verdict_of(evaluated, fresh, objectives=["val_mse"], modes=["min"])
    assert "0000-fc-4d is +0.2 of validation mean squared error ahead of 0001-conv-10d, " in text
    assert ", 95 % interval +0.1" in text


@pytest.mark.parametrize("objectives", [{}, {BEST: [0.9], SECOND: [0.8]}, {BEST: [None], SECOND: [0.8]}])
def test_one_training_each_is_said_with_the_way_to_an_interval(evaluated, objectives):
    text = verdict_of(evaluated, objectives)
    assert text == "One training run each: no interval; --finalist-seeds 3 gives one."


def test_seeds_of_one_finalist_alone_give_no_interval(evaluated):
    text = verdict_of(evaluated, {BEST: [0.9, 0.8], SECOND: [0.7, None]})
    assert text == (
        "No interval for 0001-conv-10d minus 0000-fc-4d: one of them has fewer than two fresh seeds."
    )


def test_bare_checkpoints_have_no_verdict(evaluated):
    evaluated.study_file.unlink()
    assert verdict(Results.read(evaluated)) is None
