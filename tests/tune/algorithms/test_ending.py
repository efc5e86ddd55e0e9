"""When a search ends before its last trial, by trials that were told by hand."""

from datetime import datetime

import pytest

from tests.tune.conftest import KNN, SmallPlan, budget_of, open_journal
from tune.algorithms import journal
from tune.algorithms.ending import EndKind, find_ending
from tune.algorithms.objective import Objective
from tune.algorithms.outcome import Outcome
from tune.algorithms.searcher import OptunaSearcher
from tune.space.file import parse_space

MSE = Objective("val_mse", "min")
SPACE = parse_space({"latent_dim": {"int": [1, 64]}})
STOPPED, COLLAPSED, FAILED, LACKS_MEMORY = (
    Outcome("stopped_early", "rung"),
    Outcome("failed", "collapsed"),
    Outcome("failed", "error"),
    Outcome("failed", "oom"),
)


def ending_after(run, ends, *, objective=KNN, space=SPACE, since_after=None, **limits):
    """Return the ending of a study in which trials ended one after another: with a value, or an outcome."""
    study = journal.create_study(run / "optuna.journal", run.name, [objective], budget=budget_of(4))
    searcher, since = OptunaSearcher(study, SmallPlan(space), budget_of(4), [objective]), None
    for number, end in enumerate(ends):
        searcher.suggest(str(number))
        if isinstance(end, Outcome):
            searcher.tell(str(number), end)
        else:
            searcher.on_trial_complete(str(number), {"images": 4, objective.name: end})
        if number == since_after:
            since = datetime.now().astimezone()
    plan = SmallPlan(space, **limits)
    return find_ending(open_journal(run), plan, objective, searcher._proposals.tried(), since=since)


@pytest.mark.parametrize(
    ("ends", "ended"),
    [
        ([0.5, 0.4, 0.3], False),  # two in a row
        ([0.5, 0.4, 0.3, 0.2], True),
        ([0.5, 0.4, 0.3, 0.6], False),  # a better one: from the beginning
        ([0.5, 0.4, 0.3, 0.5], True),  # as good is not better
        ([0.5, STOPPED, COLLAPSED, 0.1], True),
        ([0.5, 0.4, 0.3, FAILED, LACKS_MEMORY], False),  # nobody knows how good they are
        ([STOPPED, STOPPED, STOPPED, STOPPED], False),  # nothing to be better than
        ([STOPPED, STOPPED, 0.5, STOPPED, STOPPED], False),
    ],
)
def test_the_patience_counts_what_has_ended_without_a_better_best(tmp_path, ends, ended):
    found = ending_after(tmp_path, ends, patience=3)
    assert (found is not None) == ended
    if found:
        assert (found.kind, found.reason) == (
            EndKind.PLATEAU,
            "3 trials in a row brought no better val_knn_accuracy",
        )


def test_the_patience_follows_the_order_in_which_trials_end(tmp_path):
    study = journal.create_study(tmp_path / "optuna.journal", "run", [KNN], budget=budget_of(4))
    searcher = OptunaSearcher(study, SmallPlan(SPACE, patience=2), budget_of(4), [KNN])
    for name in "abc":
        searcher.suggest(name)
    for name, value in (("c", 0.5), ("b", 0.4), ("a", 0.6)):
        searcher.on_trial_complete(name, {"images": 4, KNN.name: value})
    assert searcher.ending() is None


def test_the_patience_of_an_extension_counts_from_then(tmp_path):
    ends = [0.5, 0.4, 0.3, 0.2, 0.1]
    assert ending_after(tmp_path, ends, patience=2, since_after=3) is None


def test_of_a_minimised_objective_less_is_better(tmp_path):
    assert ending_after(tmp_path, [0.5, 0.4, 0.3], objective=MSE, patience=1) is None


@pytest.mark.parametrize(
    ("objective", "ends", "target", "reason"),
    [
        (KNN, [0.5, 0.92], 0.9, "0001-1d reached the target 0.9: val_knn_accuracy 0.9200"),
        (KNN, [0.5, 0.9], 0.9, "0001-1d reached the target 0.9: val_knn_accuracy 0.9000"),
        (KNN, [0.5, 0.89], 0.9, None),
        (MSE, [0.5, 0.02], 0.03, "0001-1d reached the target 0.03: val_mse 0.0200"),
        (MSE, [0.5, 0.04], 0.03, None),
    ],
)
def test_a_target_is_reached_by_what_is_at_least_as_good(tmp_path, objective, ends, target, reason):
    found = ending_after(tmp_path, ends, objective=objective, target=target)
    if reason is None:
        assert found is None
    else:
        assert found.kind is EndKind.TARGET
        assert found.reason.partition(" ")[2] == reason.partition(" ")[2]


def test_what_was_stopped_early_does_not_reach_a_target(tmp_path):
    study = journal.create_study(tmp_path / "optuna.journal", "run", [KNN], budget=budget_of(4))
    searcher = OptunaSearcher(study, SmallPlan(SPACE, target=0.9), budget_of(4), [KNN])
    searcher.suggest("a")
    searcher.on_trial_complete("a", {"images": 2, KNN.name: 0.95})
    assert searcher.ending() is None


def test_a_space_that_was_tried_to_the_last_configuration_ends_the_search(tmp_path):
    space = parse_space({"latent_dim": {"choice": [2, 4]}})
    found = ending_after(tmp_path, [0.5, FAILED], space=space)
    assert (found.kind, found.reason) == (EndKind.ALL_TRIED, "all 2 configurations were tried")


def test_what_still_runs_may_be_better_and_then_the_search_continues(tmp_path):
    study = journal.create_study(tmp_path / "optuna.journal", "run", [KNN], budget=budget_of(4))
    searcher = OptunaSearcher(study, SmallPlan(SPACE, patience=1), budget_of(4), [KNN])
    for name in "abc":
        searcher.suggest(name)
    searcher.on_trial_complete("a", {"images": 4, KNN.name: 0.5})
    searcher.on_trial_complete("b", {"images": 4, KNN.name: 0.4})
    assert searcher.suggest("d") is None  # not yet
    searcher.on_trial_complete("c", {"images": 4, KNN.name: 0.6})
    assert searcher.suggest("d")["number"] == 3
    searcher.on_trial_complete("d", error=True)  # Ray has ended it; what became of it is told later
    searcher.tell("d", STOPPED)
    assert searcher.suggest("e") == "FINISHED"
