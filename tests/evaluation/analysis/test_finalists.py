"""What is said about the finalists of a study; their fresh seeds are those of `write_fresh_seeds`."""

from dataclasses import replace

import pytest

from evaluation.analysis.finalists import finalist_rows, optimism_sentence, verdict
from evaluation.analysis.results import Results
from evaluation.scores.confidence import t_interval
from evaluation.scores.protocols import ALL_IMAGES_K10
from tests.evaluation.conftest import BEST, SECOND, write_fresh_seeds


def verdict_of(run, objectives, **study):
    write_fresh_seeds(run, objectives)
    replace(run.read_study(), **study).write(run.study_file)
    return verdict(Results.read(run))


def test_a_fresh_mean_and_interval_are_those_of_the_completed_seeds(reseeded_once):
    results = Results.read(reseeded_once)
    second, best = finalist_rows(results)
    assert (second.row.key.trial_id, best.row.key.trial_id) == (SECOND, BEST)
    assert (second.fresh.n, second.fresh.n_failed) == (3, 0)
    assert (best.fresh.n, best.fresh.n_failed) == (2, 1)
    assert second.fresh.objective == t_interval([0.90, 0.91, 0.92])
    tests = [results.accuracies(key, "test", ALL_IMAGES_K10)[0] for key in results.replicas(SECOND)]
    assert len(tests) == 3
    assert second.fresh.test == t_interval(tests)
    assert second.fresh.test_few is None  # digits have no 500 images of a class


def test_optimism_of_fresh_seeds_is_their_validation_minus_their_test(reseeded_once):
    results = Results.read(reseeded_once)
    finalist = finalist_rows(results)[0]
    like = [
        results.scores(key, "test")
        .query("samples_per_class == 100 and n_neighbors == 10 and weights == 'distance'")["value"]
        .item()
        for key in sorted(results.replicas(SECOND), key=lambda key: key.training_seed)
    ]
    expected = sum(v - t for v, t in zip([0.90, 0.91, 0.92], like, strict=True)) / 3
    assert finalist.fresh.optimism == pytest.approx(expected)


def test_without_fresh_seeds_there_is_none(evaluated_once):
    assert [finalist.fresh for finalist in finalist_rows(Results.read(evaluated_once))] == [None, None]


def test_the_optimism_sentence_names_the_average_and_each_finalist(reseeded_once, evaluated_once):
    finalists = finalist_rows(Results.read(evaluated_once))
    points = [f"{100 * finalist.optimism:+.1f}".replace("-", "−") for finalist in finalists]
    mean = f"{100 * sum(finalist.optimism for finalist in finalists) / 2:+.1f}".replace("-", "−")
    assert optimism_sentence(finalists) == (
        f"Optimism, validation minus test: {mean} points on average "
        f"({BEST} {points[0]}, {SECOND} {points[1]})."
    )
    assert "; with fresh seeds " in optimism_sentence(finalist_rows(Results.read(reseeded_once)))
    assert f"points for {BEST}." in optimism_sentence(finalists[:1])
    assert optimism_sentence([]) is None


def test_finalists_whose_seeds_overlap_cannot_be_told_apart(evaluated):
    text = verdict_of(evaluated, {BEST: [0.90, 0.94, 0.92], SECOND: [0.89, 0.91, 0.93]})
    assert text == (
        "First and second place cannot be told apart: over 3 fresh seeds each 0001-conv-10d leads 0000-fc-4d "
        "by +1.0 points of validation KNN accuracy, 95 % interval −3.5 to +5.5, which contains 0."
    )


def test_finalists_whose_seeds_lie_apart_are_told_apart(evaluated):
    text = verdict_of(evaluated, {BEST: [0.80, 0.81], SECOND: [0.90, 0.91, 0.92]})
    assert text.startswith(
        "Fresh seeds tell first and second place apart: over 3 and 2 fresh seeds 0000-fc-4d leads "
        "0001-conv-10d by +10.5 points"
    )
    assert text.endswith("which does not contain 0.")


def test_where_smaller_is_better_the_lead_is_positive_too(evaluated):
    objectives = {BEST: [0.30, 0.31, 0.32], SECOND: [0.10, 0.11, 0.12]}
    text = verdict_of(evaluated, objectives, **{"objectives": ["val_mse"], "modes": ["min"]})
    assert (
        "0000-fc-4d leads 0001-conv-10d by +0.2 of validation mean squared error, 95 % interval +0.1" in text
    )


@pytest.mark.parametrize("objectives", [{}, {BEST: [0.9], SECOND: [0.8]}, {BEST: [None], SECOND: [0.8]}])
def test_one_training_each_is_said_with_the_way_to_an_interval(evaluated, objectives):
    text = verdict_of(evaluated, objectives)
    assert text == "One training run each: no interval; --finalist-seeds 3 gives one."


def test_seeds_of_one_finalist_alone_tell_nothing(evaluated):
    text = verdict_of(evaluated, {BEST: [0.9, 0.8], SECOND: [0.7, None]})
    assert text == (
        "Whether 0001-conv-10d leads 0000-fc-4d cannot be told: one of them has fewer than two fresh seeds."
    )


def test_bare_checkpoints_have_no_verdict(evaluated):
    evaluated.study_file.unlink()
    assert verdict(Results.read(evaluated)) is None
