"""The accuracy of the best finalist, read without the rest."""

from evaluation.analysis.headline import winners_test_accuracy
from evaluation.analysis.results import Results
from tests.tune.study.test_ranking import begin_extension


def test_it_is_that_of_the_winners_row_in_the_comparison(evaluated):
    assert winners_test_accuracy(evaluated) == Results.read(evaluated).comparison.winner.test > 0


def test_the_winner_is_that_of_the_fresh_seeds(reseeded):
    assert winners_test_accuracy(reseeded) == Results.read(reseeded).comparison.winner.test > 0


def test_a_study_that_is_not_evaluated_has_none(study):
    assert winners_test_accuracy(study) is None


def test_a_study_that_has_changed_since_has_none(evaluated):
    begin_extension(evaluated, 300)
    assert winners_test_accuracy(evaluated) is None
