"""What a driver leaves when it dies between two writes, and what the next one makes of it."""

import math

import pytest

from tests.tune.conftest import (
    KNN,
    PARAMS,
    SMALL_SPACE,
    FakeTrial,
    SmallPlan,
    budget_of,
    epoch_result,
    open_journal,
)
from tune import restore as restore_module
from tune.algorithms import journal
from tune.algorithms.outcome import Outcome
from tune.algorithms.scheduler import EarlyStopping
from tune.algorithms.searcher import OptunaSearcher
from tune.algorithms.stopping_rules import Asha
from tune.restore import restore_trials
from tune.space.file import parse_space
from tune.storage.run_directory import RunDirectory
from tune.study import study_tables
from tune.study.study_tables import StudyTables
from tune.trials.checkpoints import TrialCheckpoint
from vae.checkpoint import save_model
from vae.config import Config
from vae.errors import StorageError
from vae.models import build_model

MAX_EPOCHS = 4


def make_scheduler():
    rule = Asha(budget=MAX_EPOCHS, grace_period=2, reduction_factor=2)
    return EarlyStopping(rule, KNN, budget=MAX_EPOCHS)


def restore(run):
    """As a new driver does it; returns the rows of its tables and the trials to be continued."""
    study = journal.open_study(run.journal_file, run.path.name)
    tables = StudyTables(run, [KNN], budget=budget_of(MAX_EPOCHS))
    tables.load()
    unfinished = restore_trials(study, SmallPlan(), make_scheduler(), tables)
    return list(tables.trials.values()), unfinished


@pytest.mark.parametrize("has_ended", [True, False])
def test_a_trial_stopped_before_its_row_was_written_keeps_rung_and_cutoff(tmp_path, monkeypatch, has_ended):
    run = RunDirectory(tmp_path)
    study = journal.create_study(run.journal_file, tmp_path.name, [KNN], budget=budget_of(MAX_EPOCHS))
    scheduler = make_scheduler()
    searcher = OptunaSearcher(study, SmallPlan(), budget_of(MAX_EPOCHS), [KNN], cutoff_of=scheduler.cutoff_of)
    names = [searcher.suggest(f"ray-{n}")["trial_id"] for n in range(2)]
    for number, (name, value) in enumerate(zip(names, [0.9, 0.4], strict=True)):
        stopped = scheduler.judge(name, number, 2, value)
        assert stopped == (number == 1)
    searcher.on_trial_result("ray-0", {"images": 2, KNN.name: 0.9})
    if not has_ended:  # the kill comes between the last value and the end
        monkeypatch.setattr(searcher, "tell", lambda *_: None)
    searcher.on_trial_complete("ray-1", {"images": 2, KNN.name: 0.4})

    rows, unfinished = restore(run)
    assert [trial.trial_id for trial in unfinished] == names[:1]
    assert (rows[1]["status"], rows[1]["stop_reason"]) == ("stopped_early", "rung")
    assert (rows[1]["rung"], rows[1]["cutoff"]) == (2, 0.9)
    assert open_journal(tmp_path).trials[1].state.name == "PRUNED"


@pytest.mark.parametrize("damage", [None, "model.safetensors", "config.json"])
def test_a_kept_model_that_a_power_cut_has_emptied_is_kept_again(tmp_path, monkeypatch, damage):
    run = RunDirectory(tmp_path)
    study = journal.create_study(run.journal_file, tmp_path.name, [KNN], budget=budget_of(MAX_EPOCHS))
    searcher = OptunaSearcher(study, SmallPlan(), budget_of(MAX_EPOCHS), [KNN], cutoff_of=lambda _: None)
    trial_id = searcher.suggest("ray-0")["trial_id"]
    results = [epoch_result(epoch, 0.9) for epoch in range(1, MAX_EPOCHS + 1)]
    tables = StudyTables(run, [KNN], budget=budget_of(MAX_EPOCHS))
    tables.open(trial_id, 0, PARAMS)
    for result in results:
        tables.record_report(trial_id, result)
        searcher.on_trial_result("ray-0", result)
    searcher.on_trial_complete("ray-0", results[-1])
    config = Config.from_params(PARAMS)
    save_model(run.checkpoint_dir(trial_id), build_model(config.model, (1, 8, 8)), config, epoch=1)
    tables.end(trial_id, Outcome("completed"))
    assert tables.trials[trial_id]["checkpoint"]
    tables.write()
    if damage:
        (run.checkpoint_dir(trial_id) / damage).write_bytes(b"")
    kept = []
    monkeypatch.setattr(
        study_tables, "keep_best", lambda run, trial_id, epoch: kept.append((trial_id, epoch))
    )
    restore(run)
    assert kept == ([(trial_id, 1)] if damage else [])


@pytest.mark.parametrize(("reason", "value"), [("collapsed", 0.1), ("nan", math.nan), ("oom", math.nan)])
def test_after_a_restart_the_rungs_hold_what_they_held_and_reasons_are_what_they_were(
    tmp_path, reason, value
):
    run = RunDirectory(tmp_path)
    study = journal.create_study(run.journal_file, tmp_path.name, [KNN], budget=budget_of(MAX_EPOCHS))
    live = make_scheduler()
    searcher = OptunaSearcher(study, SmallPlan(), budget_of(MAX_EPOCHS), [KNN], cutoff_of=live.cutoff_of)
    for number, end in enumerate([None, None, reason, reason, None]):
        config = searcher.suggest(f"ray-{number}")
        for epoch in (1, 2):
            ends = end if epoch == 2 else None
            result = {"images": epoch, KNN.name: value if ends else 0.8 + number / 100, "stop_reason": ends}
            if live.on_trial_result(None, FakeTrial(f"ray-{number}", config), result) == "STOP":
                searcher.on_trial_complete(f"ray-{number}", result)
            else:
                searcher.on_trial_result(f"ray-{number}", result)
    again = make_scheduler()
    study = journal.open_study(run.journal_file, tmp_path.name)
    tables = StudyTables(run, [KNN], budget=budget_of(MAX_EPOCHS))
    restore_trials(study, SmallPlan(), again, tables)
    assert again.rule.rungs[2].values == live.rule.rungs[2].values
    assert len(live.rule.rungs[2].values) == (5 if reason == "collapsed" else 3)
    rows = sorted(tables.trials.values(), key=lambda row: row["number"])
    assert [(row["status"], row["stop_reason"]) for row in rows[2:4]] == [("failed", reason)] * 2


def test_a_trial_of_a_journal_cannot_lead_out_of_the_run_directory(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    study = journal.create_study(run.journal_file, run.path.name, [KNN], budget=budget_of(MAX_EPOCHS))
    parse_space(SMALL_SPACE).sample(trial := study.ask())
    trial.set_user_attr(journal.TRIAL_ID, "../elsewhere")
    with pytest.raises(StorageError, match=r"must be the name of a directory, got '../elsewhere'"):
        restore(run)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_trial_whose_stop_was_written_before_its_value_counts_in_its_rung_at_once(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path)
    study = journal.create_study(run.journal_file, tmp_path.name, [KNN], budget=budget_of(MAX_EPOCHS))
    searcher = OptunaSearcher(study, SmallPlan(), budget_of(MAX_EPOCHS), [KNN], cutoff_of=lambda _: (2, 0.9))
    trial_id = searcher.suggest("ray-0")["trial_id"]
    journal.write_intended_state(study, 0, Outcome("stopped_early", "rung"), (2, 0.9))  # and then the kill
    history = [epoch_result(2, 0.4, is_best=True)]
    checkpoint = TrialCheckpoint("here", history)
    monkeypatch.setattr(restore_module, "newest_checkpoint", lambda run, trial_id: checkpoint)
    scheduler = make_scheduler()
    study = journal.open_study(run.journal_file)
    restore_trials(study, SmallPlan(), scheduler, StudyTables(run, [KNN], budget=budget_of(MAX_EPOCHS)))
    assert scheduler.rule.rungs[2].values == {trial_id: 0.4}
