"""The Optuna study on disk: a half-written line, a dead writer's lock, a larger budget."""

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from tests.tune.conftest import KNN, SMALL_SPACE, SmallPlan, budget_of, open_journal
from tune.algorithms import journal
from tune.algorithms.outcome import Outcome
from tune.algorithms.proposals import Proposals
from tune.algorithms.samplers import make_sampler, proposal_seed
from tune.algorithms.searcher import OptunaSearcher
from tune.space.file import parse_space
from vae.errors import StorageError

COMPLETE, PRUNED, FAIL, WAITING = (
    optuna.trial.TrialState[name] for name in ("COMPLETE", "PRUNED", "FAIL", "WAITING")
)
SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}


@pytest.fixture
def study(tmp_path):
    return journal.create_study(tmp_path / "optuna.journal", tmp_path.name, [KNN], budget=budget_of(4))


def run(study, outcome, *values):
    trial = study.ask(SPACE)
    trial.set_user_attr("trial_id", f"{trial.number:04d}")
    for epoch, value in enumerate(values, start=1):
        journal.record_values(study, trial._trial_id, epoch, [value])
    journal.tell(study, trial._trial_id, outcome, [KNN])
    return trial.number


def test_a_line_that_was_half_written_is_cut_off(study, tmp_path):
    run(study, Outcome("completed"), 0.1, 0.2, 0.3, 0.4)
    file = tmp_path / "optuna.journal"
    with file.open("ab") as journal_file:
        journal_file.write(b'{"op_code":4,"worker')
    again = journal.open_study(file, tmp_path.name)
    run(again, Outcome("stopped_early", "rung"), 0.1)
    assert [trial.state for trial in open_journal(tmp_path).trials] == [COMPLETE, PRUNED]


def test_the_lock_of_a_writer_that_died_holds_nobody_up(study, tmp_path):
    file = tmp_path / "optuna.journal"
    assert JournalFileBackend(str(file))._lock.acquire()  # and never released
    run(journal.open_study(file, tmp_path.name), Outcome("completed"), 0.5)
    assert open_journal(tmp_path).trials[0].state == COMPLETE


@pytest.mark.parametrize("content", [None, b"", b"no journal\n"])
def test_a_journal_that_cannot_be_read_is_one_clear_error(tmp_path, content):
    file = tmp_path / "optuna.journal"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StorageError, match=r"cannot read .*optuna\.journal"):
        journal.open_study(file, "run")


def test_a_larger_budget_reopens_what_was_complete_and_what_is_promising(study, tmp_path):
    done = run(study, Outcome("completed"), 0.1, 0.2, 0.3, 0.4)
    promising, weak = (run(study, Outcome("stopped_early", "rung"), value) for value in (0.3, 0.1))
    diverged = run(study, Outcome("failed", "nan"), 0.2)
    before = study.get_trials(deepcopy=True)
    raised = journal.extend_max_epochs(
        tmp_path / "optuna.journal", study, 9, lambda trial: trial.number == promising
    )
    assert journal.max_epochs_of(raised) == 9
    after = open_journal(tmp_path).trials
    states = {done: WAITING, promising: WAITING, weak: PRUNED, diverged: PRUNED}
    assert {trial.number: trial.state for trial in after} == states
    for old, new in zip(before, after, strict=True):
        assert (new.number, new.params, new.intermediate_values) == (
            old.number,
            old.params,
            old.intermediate_values,
        )
        assert journal.schedule_epochs_of(study, old) == [4]
        assert journal.schedule_epochs_of(raised, new) == [4, 9]
        assert journal.intended_state(new) == (None if new.state == WAITING else journal.intended_state(old))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["optuna.journal"]
    assert journal.schedule_epochs_of(raised, optuna.trial.create_trial(state=WAITING)) == [9]
    twice = journal.extend_max_epochs(tmp_path / "optuna.journal", raised, 27, lambda trial: False)
    assert journal.schedule_epochs_of(twice, twice.trials[weak]) == [4, 9, 27]


@pytest.mark.parametrize("sampler", ["nsga2", "cmaes"])
def test_a_larger_budget_keeps_what_a_sampler_has_noted_in_its_trials(study, tmp_path, sampler):
    space = parse_space({"learning_rate": {"float": [1e-3, 1e-2]}, "kl_weight": {"float": [0.1, 1.0]}})
    for number in range(24):
        study.sampler = make_sampler(sampler, proposal_seed(0, number))
        trial = study.ask()
        value = -((space.sample(trial)["kl_weight"] - 0.5) ** 2)
        trial.set_user_attr("trial_id", f"{number:04d}")
        journal.record_values(study, trial._trial_id, 4, [value])
        journal.tell(study, trial._trial_id, Outcome("completed"), [KNN])
    before = [trial.system_attrs for trial in study.get_trials()]
    assert any(before)
    raised = journal.extend_max_epochs(tmp_path / "optuna.journal", study, 9, lambda trial: False)
    assert [trial.system_attrs for trial in raised.get_trials()] == before


@pytest.mark.parametrize("n_drawn", [0, 2])
@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
@pytest.mark.parametrize("n_before", [3, 14])
def test_a_driver_killed_while_it_proposed_leaves_the_same_proposal_to_the_next(
    tmp_path, sampler, n_drawn, n_before
):
    space = parse_space(SMALL_SPACE | {"start": [{"latent_dim": 8}] * 4})

    def search(name, *, killed):
        (tmp_path / name).mkdir()
        file, plan = tmp_path / name / "optuna.journal", SmallPlan(space, sampler)
        study = journal.create_study(
            file, name, [KNN], budget=budget_of(4), start=map(space.to_optuna, space.start)
        )
        for number in range(n_before + 2):
            if killed and number == n_before:
                half = Proposals(study, plan)._ask()
                for parameter, choices in [("architecture", ["fc", "conv"]), ("latent_dim", [4, 8])][
                    :n_drawn
                ]:
                    half.suggest_categorical(parameter, choices)
                study = journal.open_study(file, name)
            searcher = OptunaSearcher(study, plan, budget_of(4), [KNN])
            config = searcher.suggest(str(number))
            assert config["number"] == number
            value = config["params"]["learning_rate"]
            searcher.on_trial_complete(str(number), {"images": 4, KNN.name: value})
        return [(trial.params, trial.state, trial.intermediate_values) for trial in study.trials]

    assert search("killed", killed=True) == search("whole", killed=False)


@pytest.mark.parametrize(
    ("reason", "state"), [("collapsed", PRUNED), ("nan", PRUNED), ("oom", FAIL), ("error", FAIL)]
)
def test_what_an_older_version_had_as_fail_samplers_see_as_they_do_now(study, tmp_path, reason, state):
    done = run(study, Outcome("completed"), 0.1, 0.2, 0.3, 0.4)
    trial = study.ask(SPACE)
    trial.set_user_attr("trial_id", "0001")
    journal.record_values(study, trial._trial_id, 1, [0.5])
    study._storage.set_trial_user_attr(trial._trial_id, "stop_reason", reason)
    study.tell(trial.number, state=FAIL)
    before = study.trials
    after = journal.open_study(tmp_path / "optuna.journal", tmp_path.name).trials
    assert [trial.state for trial in after] == [COMPLETE, state]
    assert after[done].values == before[done].values
    for attribute in ("params", "intermediate_values", "user_attrs", "datetime_complete"):
        assert getattr(after[1], attribute) == getattr(before[1], attribute)


def test_the_first_report_of_an_epoch_stays(study, tmp_path, recwarn):
    trial = study.ask(SPACE)
    for value in (0.1, 0.2):
        journal.record_values(study, trial._trial_id, 1, [value])
    assert journal.curve(open_journal(tmp_path).trials[0]) == {1: (0.1,)}
    assert not recwarn.list


def test_a_completed_trial_without_a_value_is_a_bug_that_is_named(study):
    with pytest.raises(ValueError, match="ran its full budget without one finite val_knn_accuracy"):
        run(study, Outcome("completed"))
