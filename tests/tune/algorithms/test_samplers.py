"""Optuna's samplers by name, and the seeds of proposals and trials."""

import optuna
import pytest

from tune.algorithms.samplers import SAMPLERS, check_sampler, make_sampler, proposal_seed, trial_seed
from vae.errors import UsageError


def objective(trial):
    kind = trial.suggest_categorical("kind", ["a", "b"])
    x = trial.suggest_float("x", 0, 1, step=0.125)
    return x + (trial.suggest_float("only for b", 0, 1, step=0.125) if kind == "b" else 0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_searches_a_conditional_space_and_is_repeated_by_its_seeds(name):
    def search():
        study = optuna.create_study(direction="maximize")
        for number in range(12):
            study.sampler = make_sampler(name, proposal_seed(3, number))
            study.optimize(objective, n_trials=1)
        return [trial.params for trial in study.trials]

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    drawn = search()
    assert drawn == search()
    assert len({params["x"] for params in drawn}) > 4


def test_an_unknown_sampler_is_refused():
    with pytest.raises(UsageError, match="must be one of tpe, random, gp, cmaes, nsga2, grid, got 'sobol'"):
        make_sampler("sobol", 0)


def test_a_sampler_for_one_objective_is_refused_for_two():
    with pytest.raises(UsageError, match="'cmaes' knows one objective only, got 2; use tpe, random"):
        check_sampler("cmaes", 2)
    check_sampler("nsga2", 2)


def test_a_grid_over_a_continuous_range_is_refused():
    with pytest.raises(UsageError, match="'grid' tries every configuration, but kl_weight is a continuous"):
        check_sampler("grid", continuous=["kl_weight"])
    check_sampler("grid")
    check_sampler("random", continuous=["kl_weight"])


def test_a_trials_seed_depends_on_the_studys_seed_and_its_number_only():
    assert trial_seed(0, 7) == trial_seed(0, 7)
    seeds = {trial_seed(study, number) for study in range(20) for number in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert proposal_seed(0, 7) != trial_seed(0, 7)
