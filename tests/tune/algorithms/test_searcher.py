"""What Optuna learns about every way in which a trial can end, with the real Optuna and its journal."""

import math

import optuna
import pytest

from tests.tune.conftest import KNN, SMALL_SPACE, SmallPlan, budget_of, open_journal
from tune.algorithms import journal
from tune.algorithms.objective import Objective
from tune.algorithms.outcome import Outcome
from tune.algorithms.samplers import trial_seed
from tune.algorithms.searcher import OptunaSearcher, Unfinished
from tune.space.file import parse_space

COMPLETE, PRUNED, FAIL, RUNNING, WAITING = (
    optuna.trial.TrialState[name] for name in ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING")
)
MAX_EPOCHS = 4
BUDGET = budget_of(MAX_EPOCHS)


def make_searcher(run, *objectives, space=None, sampler="random", n_trials=10, seed=0, **options):
    objectives, space = objectives or (KNN,), space or parse_space(SMALL_SPACE)
    file = run / "optuna.journal"
    if file.exists():
        study = journal.open_study(file, run.name)
    else:
        start = map(space.to_optuna, space.start[:n_trials])
        study = journal.create_study(file, run.name, objectives, budget=BUDGET, start=start)
    return OptunaSearcher(study, SmallPlan(space, sampler, seed), BUDGET, objectives, **options)


@pytest.fixture
def searcher(tmp_path):
    return make_searcher(tmp_path)


def stored_trial(tmp_path, number=0):
    return open_journal(tmp_path).trials[number]


def result(epoch, value, **more):
    return {"images": epoch, KNN.name: value, **more}


def test_a_full_budget_is_told_complete_with_the_best_epoch(searcher, tmp_path):
    searcher.suggest("ray-a")
    for epoch, value in [(1, 0.5), (2, 0.9), (3, 0.7)]:
        searcher.on_trial_result("ray-a", result(epoch, value))
    searcher.on_trial_complete("ray-a", result(4, 0.8))  # Tune reports the last epoch here only
    trial = stored_trial(tmp_path)
    assert (trial.state, trial.values) == (COMPLETE, [0.9])
    assert trial.intermediate_values == {1: 0.5, 2: 0.9, 3: 0.7, 4: 0.8}


def test_the_best_epoch_of_a_minimised_objective_is_the_smallest(tmp_path):
    searcher = make_searcher(tmp_path, Objective("val_mse", "min"))
    searcher.suggest("ray-a")
    searcher.on_trial_result("ray-a", {"images": 1, "val_mse": 0.2})
    searcher.on_trial_complete("ray-a", {"images": 4, "val_mse": 0.3})
    assert stored_trial(tmp_path).values == [0.2]
    assert open_journal(tmp_path).direction == optuna.study.StudyDirection.MINIMIZE


def test_a_trial_that_asha_stopped_is_told_pruned_with_its_epochs(tmp_path):
    searcher = make_searcher(tmp_path, cutoff_of=lambda trial_id: (2, 0.45))
    searcher.suggest("ray-a")
    searcher.on_trial_result("ray-a", result(1, 0.5))
    searcher.on_trial_complete("ray-a", result(2, 0.4))
    trial = stored_trial(tmp_path)
    assert (trial.state, trial.intermediate_values) == (PRUNED, {1: 0.5, 2: 0.4})
    assert (trial.user_attrs["stop_reason"], trial.user_attrs["cutoff"]) == ("rung", [2, 0.45])


@pytest.mark.parametrize(
    ("reason", "state", "value", "seen"),
    [
        ("nan", PRUNED, math.nan, {1: 0.5}),
        ("collapsed", PRUNED, 0.1, {1: 0.5, 2: 0.1}),
        ("oom", FAIL, math.nan, {1: 0.5}),
    ],
)
def test_what_a_configuration_is_to_blame_for_is_reported_pruned_with_what_was_seen(
    searcher, tmp_path, reason, state, value, seen
):
    searcher.suggest("ray-a")
    searcher.on_trial_result("ray-a", result(1, 0.5))
    searcher.on_trial_complete("ray-a", result(2, value, stop_reason=reason))
    trial = stored_trial(tmp_path)
    assert (trial.state, trial.intermediate_values) == (state, seen)
    assert trial.user_attrs["stop_reason"] == reason


def test_a_collapse_is_not_known_before_its_value(searcher, monkeypatch):
    searcher.suggest("ray-a")
    written = []
    for name in ("record_values", "write_intended_state"):
        monkeypatch.setattr(journal, name, lambda *_, name=name, **__: written.append(name))
    searcher.on_trial_complete("ray-a", result(2, 0.1, stop_reason="collapsed"))
    assert written == ["record_values", "write_intended_state"]


@pytest.mark.parametrize("reason", ["collapsed", "nan"])
def test_tpe_keeps_away_from_where_trials_collapse_or_diverge(tmp_path, reason):
    space = parse_space({"kl_weight": {"float": [0.01, 1.0]}})
    searcher, failed = make_searcher(tmp_path, space=space, sampler="tpe"), []
    for number in range(40):
        weight = searcher.suggest(str(number))["params"]["kl_weight"]
        failed.append(weight > 0.66)
        if not failed[-1]:
            searcher.on_trial_complete(str(number), result(MAX_EPOCHS, weight))  # best at the brink
        elif reason == "collapsed":
            searcher.on_trial_complete(str(number), result(1, 0.0, stop_reason=reason))
        else:
            searcher.on_trial_complete(str(number), result(1, math.nan, stop_reason=reason))
    assert any(failed[:10])
    assert sum(failed[20:]) / 20 < 0.7  # as FAIL, nearly all of them


def test_divergence_in_the_last_epoch_is_no_completion(searcher, tmp_path):
    searcher.suggest("ray-a")
    searcher.on_trial_result("ray-a", result(3, 0.5))
    searcher.on_trial_complete("ray-a", result(MAX_EPOCHS, math.nan, stop_reason="nan"))
    assert stored_trial(tmp_path).state == PRUNED


@pytest.mark.parametrize("reason", ["error", "oom"])
def test_an_error_is_told_fail_with_the_reason_that_the_recorder_finds(searcher, tmp_path, reason):
    searcher.suggest("ray-a")
    searcher.on_trial_complete("ray-a", error=True)
    searcher.tell("ray-a", Outcome("failed", reason))
    assert (stored_trial(tmp_path).state, stored_trial(tmp_path).user_attrs["stop_reason"]) == (FAIL, reason)


def test_what_the_end_of_the_search_takes_waits_to_be_continued(tmp_path):
    space = parse_space(SMALL_SPACE | {"start": [{"latent_dim": 4}] * 4})
    searcher = make_searcher(tmp_path, space=space)
    for trial_id in "abc":
        searcher.suggest(trial_id)
    searcher.on_trial_complete("a", result(MAX_EPOCHS, 0.5))
    searcher.on_trial_result("b", result(1, 0.5))
    searcher.close()
    trials = open_journal(tmp_path).trials
    assert [trial.state for trial in trials] == [COMPLETE, WAITING, WAITING, WAITING]
    assert [trial.number for trial in journal.proposed_trials(open_journal(tmp_path))] == [0, 1, 2]
    assert trials[1].intermediate_values == {1: 0.5}


def test_a_configuration_that_ran_out_of_memory_is_not_proposed_again(tmp_path):
    space = parse_space({"architecture": "fc", "latent_dim": {"choice": [4, 8]}})
    searcher = make_searcher(tmp_path, space=space)
    dims = []
    for number in range(2):
        dims.append(searcher.suggest(str(number))["params"]["latent_dim"])
        searcher.on_trial_complete(str(number), result(0, math.nan, stop_reason="oom"))
    assert sorted(dims) == [4, 8]
    assert searcher.suggest("none") == "FINISHED"
    assert not [trial for trial in open_journal(tmp_path).trials if trial.state == RUNNING]


def test_several_objectives_are_told_as_they_were_at_the_best_epoch_of_the_first(tmp_path):
    searcher = make_searcher(tmp_path, KNN, Objective("val_mse", "min"), sampler="tpe")
    for number in range(12):
        searcher.suggest(str(number))
        searcher.on_trial_result(str(number), result(1, 0.9, val_mse=0.3))
        searcher.on_trial_complete(str(number), result(4 if number % 2 else 2, 0.8, val_mse=0.1))
    trials = open_journal(tmp_path).trials
    assert [trial.state for trial in trials] == [PRUNED, COMPLETE] * 6
    assert trials[1].values == [0.9, 0.3]
    assert journal.curve(trials[0]) == {1: (0.9, 0.3), 2: (0.8, 0.1)}


def test_an_epoch_that_a_restored_trial_repeats_is_told_once(searcher, tmp_path, recwarn):
    searcher.suggest("ray-a")
    for epoch in (1, 2, 2, 3):
        searcher.on_trial_result("ray-a", result(epoch, epoch / 10))
    assert stored_trial(tmp_path).intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}
    assert not recwarn.list


def test_numbers_names_and_seeds_belong_together(searcher, tmp_path):
    configs = [searcher.suggest(f"ray-{i}") for i in range(3)]
    for number, config in enumerate(configs):
        params, trial = config["params"], stored_trial(tmp_path, number)
        assert config["number"] == trial.number == number
        assert config["trial_id"] == f"000{number}-{params['architecture']}-{params['latent_dim']}d"
        assert trial.user_attrs == {"trial_id": config["trial_id"], "proposal": "random"}
        assert config["resume_from"] is None
        assert trial.params.items() <= params.items()
        assert (params["max_epochs"], params["schedule_epochs"]) == (MAX_EPOCHS, [MAX_EPOCHS])
        assert params["seed"] == trial_seed(0, number)
    assert len({config["params"]["seed"] for config in configs}) == 3


def test_starting_points_come_first_but_no_more_than_there_are_trials(tmp_path):
    points = [{"latent_dim": 8, "learning_rate": rate} for rate in (0.002, 0.003, 0.004)]
    searcher = make_searcher(tmp_path, space=parse_space(SMALL_SPACE | {"start": points}), n_trials=2)
    rates = [searcher.suggest(str(i))["params"]["learning_rate"] for i in range(3)]
    assert rates[:2] == [0.002, 0.003]
    assert rates[2] not in (0.002, 0.003, 0.004)


def test_a_sequential_search_is_repeated_by_its_seed(tmp_path):
    def search(name, seed):
        (tmp_path / name).mkdir()
        searcher, drawn = make_searcher(tmp_path / name, sampler="tpe", seed=seed), []
        for i in range(14):
            config = searcher.suggest(str(i))
            drawn.append(config["params"])
            searcher.on_trial_complete(str(i), result(MAX_EPOCHS, config["params"]["learning_rate"]))
        return drawn

    first = search("a", 1)
    assert search("b", 1) == first
    assert search("c", 2) != first


def test_tpe_learns_from_what_it_is_told(tmp_path):
    searcher = make_searcher(tmp_path, sampler="tpe")
    for i in range(40):  # the best learning rate is at the upper end
        config = searcher.suggest(str(i))
        searcher.on_trial_complete(str(i), result(MAX_EPOCHS, config["params"]["learning_rate"]))
    rates = [trial.params["learning_rate"] for trial in open_journal(tmp_path).trials]
    assert sum(rate > 0.005 for rate in rates[20:]) > sum(rate > 0.005 for rate in rates[:8]) * 20 / 8


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_that_was_interrupted_proposes_what_it_would_have_proposed(tmp_path, sampler):
    def search(name, interrupted_after):
        (tmp_path / name).mkdir()
        searcher, drawn = make_searcher(tmp_path / name, sampler=sampler), []
        for i in range(14):
            if i == interrupted_after:
                searcher = make_searcher(tmp_path / name, sampler=sampler)
            drawn.append(searcher.suggest(str(i))["params"])
            searcher.on_trial_complete(str(i), result(MAX_EPOCHS, drawn[-1]["learning_rate"]))
        return drawn

    assert search("broken", 11) == search("whole", None)


def test_trials_that_an_earlier_driver_left_come_first_and_keep_their_numbers(searcher, tmp_path):
    config = searcher.suggest("old")
    searcher.on_trial_result("old", result(1, 0.7))
    searcher.close()
    (waiting,) = journal.proposed_trials(open_journal(tmp_path))
    unfinished = Unfinished(
        0, config["trial_id"], waiting._trial_id, config["params"], str(tmp_path / "checkpoint"), "random"
    )
    again = make_searcher(tmp_path, unfinished=[unfinished])
    journal.set_running(again.study, waiting)
    assert again.suggest("new") == config | {"resume_from": str(str(tmp_path / "checkpoint"))}
    again.on_trial_complete("new", result(MAX_EPOCHS, 0.6))
    (trial,) = open_journal(tmp_path).trials
    assert (trial.state, trial.values, trial.intermediate_values) == (COMPLETE, [0.7], {1: 0.7, 4: 0.6})
