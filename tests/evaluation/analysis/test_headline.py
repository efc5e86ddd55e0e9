"""The accuracy of the best finalist, read without the rest."""

import pytest

from evaluation.analysis.headline import winners_test_accuracy
from evaluation.analysis.results import Results
from tests.tune.study.test_ranking import begin_extension


@pytest.mark.parametrize("name", ["evaluated", "reseeded"])
def test_it_is_that_of_the_winners_row_in_the_comparison(request, name):
    run = request.getfixturevalue(name)
    winner = Results.read(run).comparison.winner
    assert winners_test_accuracy(run) == winner.test > 0


def test_a_study_that_is_not_evaluated_has_none(study):
    assert winners_test_accuracy(study) is None


def test_a_study_that_has_changed_since_has_none(evaluated):
    begin_extension(evaluated, 300)
    assert winners_test_accuracy(evaluated) is None
