"""No configuration twice: small spaces, starting points, resumed searches, with the real Optuna."""

from dataclasses import replace

import optuna
import pytest

from tests.tune.conftest import KNN, SmallPlan, budget_of
from tune.algorithms import journal
from tune.algorithms.outcome import Outcome
from tune.algorithms.proposals import Proposals, number_of, proposal_of, trial_name
from tune.algorithms.samplers import SAMPLERS
from tune.space.file import parse_space

# 2 x 3 for fc, 3 for conv: 9.
SMALL = {
    "architecture": {"choice": ["fc", "conv"]},
    "width": [{"choice": [0.5, 1.0], "when": {"architecture": "fc"}}, {"value": 0.25}],
    "latent_dim": {"choice": [2, 4, 8]},
}


def propose_all(run, plan, *, n, reopened_after=()):
    """Propose ``n`` times and complete each trial; return the params and the numbers, and the study."""
    run.mkdir(parents=True)
    file = run / "optuna.journal"
    start = map(plan.space.to_optuna, plan.space.start)
    study = journal.create_study(
        file, run.name, [KNN], budget=budget_of(4), start=start, n_warm=plan.space.n_warm
    )
    proposals, found = Proposals(study, plan), []
    for i in range(n):
        if i in reopened_after:
            study = journal.open_study(file)
            proposals = Proposals(study, plan)
        if (proposal := proposals.propose()) is None:
            break
        found.append(proposal)
        journal.record_values(study, proposal.optuna_id, 4, [proposal.params["latent_dim"] / 10])
        journal.tell(study, proposal.optuna_id, Outcome("completed"), [KNN])
    return found, study


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_small_space_is_tried_to_the_last_configuration_and_none_twice(tmp_path, sampler):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found, study = propose_all(tmp_path / "run", SmallPlan(parse_space(SMALL), sampler), n=30)
    assert len({tuple(sorted(p.params.items())) for p in found}) == len(found) == 9
    assert [p.number for p in found] == list(range(9))
    assert [p.trial_id[:4] for p in found] == [f"{number:04d}" for number in range(9)]
    assert [number_of(trial) for trial in journal.proposed_trials(study)] == list(range(9))


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_a_search_that_was_interrupted_spares_what_was_tried_before(tmp_path, sampler):
    plan = SmallPlan(parse_space(SMALL), sampler)
    whole, _ = propose_all(tmp_path / "whole", plan, n=9)
    broken, _ = propose_all(tmp_path / "broken", plan, n=9, reopened_after=(2, 5, 8))
    assert [p.params for p in broken] == [p.params for p in whole]


def test_a_starting_point_that_was_tried_gives_way_and_the_next_one_follows(tmp_path):
    point = {"architecture": "conv", "latent_dim": 4}
    space = parse_space(SMALL | {"start": [point] * 15 + [{"architecture": "conv", "latent_dim": 8}]})
    found, _ = propose_all(tmp_path / "run", SmallPlan(space), n=3)
    assert found[0].params == point | {"width": 0.25}
    assert found[1].params == {"architecture": "conv", "width": 0.25, "latent_dim": 8}
    assert found[2].params not in (found[0].params, found[1].params)


def test_a_sampler_that_insists_is_overruled_at_random(tmp_path, monkeypatch):
    class Insists(optuna.samplers.BaseSampler):
        def infer_relative_search_space(self, study, trial):
            return {}

        def sample_relative(self, study, trial, search_space):
            return {}

        def sample_independent(self, study, trial, param_name, param_distribution):
            return getattr(param_distribution, "low", None) or param_distribution.choices[0]

    monkeypatch.setattr("tune.algorithms.proposals.make_sampler", lambda name, seed: Insists())
    space = parse_space({"latent_dim": {"choice": [2, 4, 8]}, "kl_weight": {"float": [0.1, 1.0]}})
    found, _ = propose_all(tmp_path / "run", SmallPlan(space), n=6)
    assert found[0].params == {"latent_dim": 2, "kl_weight": 0.1}
    assert len({p.params["kl_weight"] for p in found}) == 6


def test_a_name_tells_what_is_known():
    assert trial_name(7, {"architecture": "conv", "latent_dim": 32}) == "0007-conv-32d"
    assert trial_name(12345, {}) == "12345"


def test_who_proposed_a_configuration_is_known(tmp_path):
    space = parse_space(
        {
            "latent_dim": {"int": [2, 64]},
            "kl_weight": {"float": [0.1, 1.0]},
            "start": [{"latent_dim": 3}, {"latent_dim": 5}],
        }
    )
    plan = SmallPlan(replace(space, n_warm=1), "tpe")
    found, study = propose_all(tmp_path / "run", plan, n=12, reopened_after=(1,))
    assert [p.proposed_by for p in found] == ["warm_start", "start"] + ["random"] * 6 + ["sampler"] * 4
    assert [proposal_of(trial) for trial in journal.proposed_trials(study)] == [p.proposed_by for p in found]


@pytest.mark.parametrize(("sampler", "proposed_by"), [("random", "random"), ("grid", "sampler")])
def test_a_grid_is_no_draw(tmp_path, sampler, proposed_by):
    found, _ = propose_all(tmp_path / "run", SmallPlan(parse_space(SMALL), sampler), n=3)
    assert {p.proposed_by for p in found} == {proposed_by}
