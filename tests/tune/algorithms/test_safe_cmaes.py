"""The state of CMA-ES in the journal, where anybody may have written something else."""

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import CmaEsSampler
from optuna.trial import create_trial

from tests.pickle_bomb import Bomb
from tests.tune.conftest import KNN, budget_of
from tune.algorithms import journal
from tune.algorithms.samplers import STARTUP_TRIALS, make_sampler
from vae.errors import StorageError


def objective(trial):
    return -((trial.suggest_float("x", 0, 1) - 0.3) ** 2) - (trial.suggest_float("y", 0, 1) - 0.6) ** 2


def left_by_another(tmp_path, state):
    """Return the study of a journal with enough trials, in which an earlier driver has stored that state."""
    file = tmp_path / "optuna.journal"
    study = journal.create_study(file, "run", [KNN], budget=budget_of(1))
    for number in range(STARTUP_TRIALS):
        trial = create_trial(
            params={"x": number / 10, "y": 0.5},
            distributions={"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)},
            value=0.5,
            system_attrs={"cma:generation": 0, "cma:optimizer:0": state},
        )
        study.add_trial(trial)
    return journal.open_study(file, "run")


def test_a_pickle_in_the_journal_is_not_loaded(tmp_path):
    bomb = Bomb(tmp_path)
    study = left_by_another(tmp_path, bomb.content.hex())
    study.sampler = make_sampler("cmaes", 0)
    with bomb.stays_whole(), pytest.raises(StorageError, match="trial 7 of .*no state of CMA-ES .*makedirs"):
        study.optimize(objective, n_trials=1)


@pytest.mark.parametrize("state", ["no hex", "", "80"])
def test_a_damaged_state_is_one_line(tmp_path, state):
    study = left_by_another(tmp_path, state)
    study.sampler = make_sampler("cmaes", 0)
    with pytest.raises(StorageError, match="the journal is damaged, or not to be trusted"):
        study.optimize(objective, n_trials=1)


def test_it_proposes_what_optunas_own_sampler_does(tmp_path):
    def search(name, make):
        study = journal.create_study(tmp_path / name, name, [KNN], budget=budget_of(1))
        for number in range(STARTUP_TRIALS + 25):  # generations of 6
            study.sampler = make(number)
            study.optimize(objective, n_trials=1)
        return study.trials

    ours = search("ours", lambda number: make_sampler("cmaes", number))
    theirs = search("theirs", lambda number: CmaEsSampler(seed=number, n_startup_trials=STARTUP_TRIALS))
    assert [trial.params for trial in ours] == [trial.params for trial in theirs]
    assert ours[-1].system_attrs["cma:generation"] >= 3
    assert isinstance(make_sampler("cmaes", 0), optuna.samplers.CmaEsSampler)
