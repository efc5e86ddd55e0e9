"""What Optuna is told about every fate of a trial, with the real Optuna and its journal."""

import math

import optuna
import pytest

from tests.tune.conftest import KNN, SMALL_SPACE, open_journal
from tune.objective import Objective
from tune.searcher import OptunaSearcher, create_study, make_sampler, trial_name, trial_seed
from tune.space_file import parse_space
from vae.errors import UserError

COMPLETE, PRUNED, FAIL, RUNNING, WAITING = (
    optuna.trial.TrialState[name] for name in ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING")
)
MAX_EPOCHS = 4


def make_searcher(run, objective=KNN, space=None, sampler="random", n_trials=10, seed=0):
    study = create_study(run / "optuna.journal", run.name, objective, make_sampler(sampler, seed))
    space = space or parse_space(SMALL_SPACE)
    return OptunaSearcher(study, space, objective, max_epochs=MAX_EPOCHS, seed=seed, n_trials=n_trials)


@pytest.fixture
def searcher(tmp_path):
    return make_searcher(tmp_path)


def told(tmp_path, number=0):
    return open_journal(tmp_path).trials[number]


def result(epoch, value, **more):
    return {"epoch": epoch, KNN.name: value, **more}


def test_a_full_budget_is_told_complete_with_the_best_epoch(searcher, tmp_path):
    searcher.suggest("ray-a")
    for epoch, value in [(1, 0.5), (2, 0.9), (3, 0.7)]:
        searcher.on_trial_result("ray-a", result(epoch, value))
    searcher.on_trial_complete("ray-a", result(4, 0.8))  # Tune reports the last epoch here only
    trial = told(tmp_path)
    assert (trial.state, trial.values) == (COMPLETE, [0.9])
    assert trial.intermediate_values == {1: 0.5, 2: 0.9, 3: 0.7, 4: 0.8}


def test_the_best_epoch_of_a_minimised_objective_is_the_smallest(tmp_path):
    searcher = make_searcher(tmp_path, Objective("val_mse", "min"))
    searcher.suggest("ray-a")
    searcher.on_trial_result("ray-a", {"epoch": 1, "val_mse": 0.2})
    searcher.on_trial_complete("ray-a", {"epoch": 4, "val_mse": 0.3})
    assert told(tmp_path).values == [0.2]
    assert open_journal(tmp_path).direction == optuna.study.StudyDirection.MINIMIZE


def test_a_trial_that_asha_stopped_is_told_pruned_with_its_epochs(searcher, tmp_path):
    searcher.suggest("ray-a")
    searcher.on_trial_result("ray-a", result(1, 0.5))
    searcher.on_trial_complete("ray-a", result(2, 0.4))
    trial = told(tmp_path)
    assert (trial.state, trial.intermediate_values) == (PRUNED, {1: 0.5, 2: 0.4})
    assert trial.user_attrs["stop_reason"] == "rung"


@pytest.mark.parametrize("reason", ["nan", "oom"])
def test_a_diverged_trial_is_told_fail_and_its_nan_stays_outside(searcher, tmp_path, reason):
    searcher.suggest("ray-a")
    searcher.on_trial_result("ray-a", result(1, 0.5))
    searcher.on_trial_complete("ray-a", result(2, math.nan, stop_reason=reason))
    trial = told(tmp_path)
    assert (trial.state, trial.intermediate_values) == (FAIL, {1: 0.5})
    assert trial.user_attrs["stop_reason"] == reason


def test_divergence_in_the_last_epoch_is_no_completion(searcher, tmp_path):
    searcher.suggest("ray-a")
    searcher.on_trial_result("ray-a", result(3, 0.5))
    searcher.on_trial_complete("ray-a", result(MAX_EPOCHS, math.nan, stop_reason="nan"))
    assert told(tmp_path).state == FAIL


@pytest.mark.parametrize("last", [None, result(2, 0.4)])
def test_an_error_is_told_fail(searcher, tmp_path, last):
    searcher.suggest("ray-a")
    searcher.on_trial_complete("ray-a", last, error=True)
    assert told(tmp_path).state == FAIL


@pytest.mark.parametrize("reason", ["interrupted", "time_budget", "error"])
def test_nothing_is_running_after_the_end(tmp_path, reason):
    space = parse_space(SMALL_SPACE | {"start": [{"latent_dim": 4}] * 4})
    searcher = make_searcher(tmp_path, space=space)
    for trial_id in "abc":
        searcher.suggest(trial_id)
    searcher.on_trial_complete("a", result(MAX_EPOCHS, 0.5))
    searcher.on_trial_result("b", result(1, 0.5))
    searcher.close(reason)
    trials = open_journal(tmp_path).trials
    assert [trial.state for trial in trials] == [COMPLETE, FAIL, FAIL, WAITING]
    assert [trial.user_attrs.get("stop_reason") for trial in trials] == [None, reason, reason, None]


def test_an_epoch_that_a_restored_trial_repeats_is_told_once(searcher, tmp_path, recwarn):
    searcher.suggest("ray-a")
    for epoch in (1, 2, 2, 3):
        searcher.on_trial_result("ray-a", result(epoch, epoch / 10))
    assert told(tmp_path).intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}
    assert not recwarn.list


def test_numbers_names_and_seeds_belong_together(searcher, tmp_path):
    configs = [searcher.suggest(f"ray-{i}") for i in range(3)]
    for number, config in enumerate(configs):
        params, trial = config["params"], told(tmp_path, number)
        assert config["number"] == trial.number == number
        assert config["trial_id"] == f"000{number}-{params['architecture']}-{params['latent_dim']}d"
        assert trial.user_attrs == {"trial_id": config["trial_id"], "ray_trial_id": f"ray-{number}"}
        assert trial.params.items() <= params.items()
        assert params["max_epochs"] == MAX_EPOCHS
        assert params["seed"] == trial_seed(0, number)
    assert len({config["params"]["seed"] for config in configs}) == 3


def test_a_trials_seed_depends_on_the_studys_seed_and_its_number_only():
    assert trial_seed(0, 7) == trial_seed(0, 7)
    seeds = {trial_seed(study, number) for study in range(20) for number in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_name_tells_what_is_known():
    assert trial_name(7, {"architecture": "conv", "latent_dim": 32}) == "0007-conv-32d"
    assert trial_name(12345, {}) == "12345"


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


def test_a_saved_searcher_goes_on_with_its_running_trials(searcher, tmp_path):
    searcher.suggest("done")
    searcher.on_trial_complete("done", result(MAX_EPOCHS, 0.4))
    config = searcher.suggest("alive")
    searcher.on_trial_result("alive", result(1, 0.5))
    searcher.save(str(tmp_path / "state"))

    study = open_journal(tmp_path)
    again = OptunaSearcher(study, parse_space(SMALL_SPACE), KNN, max_epochs=MAX_EPOCHS, seed=0, n_trials=10)
    again.restore(str(tmp_path / "state"))
    again.on_trial_result("alive", result(2, 0.6))
    again.on_trial_complete("alive", result(MAX_EPOCHS, 0.55))
    trial = told(tmp_path, 1)
    assert (trial.state, trial.values) == (COMPLETE, [0.6])
    assert trial.params.items() <= config["params"].items()
    assert len(open_journal(tmp_path).trials) == 2


def test_an_unknown_sampler_is_refused():
    with pytest.raises(UserError, match="must be one of tpe, random, got 'grid'"):
        make_sampler("grid", 0)
