"""Bring a search back to where an earlier driver ended: from journal, tables and checkpoints.

The journal says which trials there are, what they reported and how they ended. A trial's own checkpoint says
what it reported last, where the driver died before it could write that down. The tables say the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from tune.algorithms import journal
from tune.algorithms.budget import Budget
from tune.algorithms.objective import Objective
from tune.algorithms.outcome import Outcome
from tune.algorithms.proposals import number_of, proposal_of, proposed_params
from tune.algorithms.scheduler import EarlyStopping, Failures
from tune.algorithms.searcher import OptunaSearcher, SearchPlan, Unfinished, objective_values, trial_params
from tune.algorithms.stopping_rules import PerBudget, StoppingRule
from tune.storage.run_directory import RunDirectory
from tune.storage.trial_status import STOP_REASON, TIME_ATTR, StopReason, TrialStatus
from tune.study.plan import Plan
from tune.study.session import StudySession
from tune.study.study_tables import StudyTables
from tune.trials.checkpoints import TrialCheckpoint, newest_checkpoint
from vae.checkpoint import is_whole


@dataclass(frozen=True, slots=True)
class Search:
    """A search where an earlier driver left it, or a new one: what Tune's loop works with."""

    optuna_study: optuna.Study
    tables: StudyTables
    scheduler: EarlyStopping
    searcher: OptunaSearcher
    unfinished: list[Unfinished]


def open_search(session: StudySession, failures: Failures | None = None) -> Search:
    """Open the journal and the tables of a study, begun if they are absent, in one state.

    ``failures`` are told of each failure of a trial.

    Raises
    ------
    StorageError
        What is there cannot be read.
    """
    plan, objectives, budget = session.plan, session.objectives, session.budget
    tables = StudyTables(session.run, objectives, budget=budget, study=session.record.name)
    tables.load()  # before the journal is changed: what cannot be read ends this while nothing has happened
    optuna_study = _open_journal(session)
    rule = plan_rule(plan, budget, optuna_study)
    scheduler = EarlyStopping(rule, objectives[0], budget=budget.images, failures=failures)
    unfinished = restore_trials(optuna_study, plan, scheduler, tables)
    extended_at = session.record.extended_at
    searcher = OptunaSearcher(
        optuna_study,
        plan,
        budget,
        objectives,
        unfinished=unfinished,
        cutoff_of=scheduler.cutoff_of,
        extended_at=None if extended_at is None else datetime.fromisoformat(extended_at),
    )
    return Search(optuna_study, tables, scheduler, searcher, unfinished)


def _open_journal(session: StudySession) -> optuna.Study:
    plan, file, name = session.plan, session.run.journal_file, session.record.name
    if not file.exists():
        start = [plan.space.to_optuna(point) for point in plan.space.start[: plan.trials]]
        return journal.create_study(
            file,
            name,
            session.objectives,
            budget=session.budget,
            start=start,
            n_warm=session.record.n_warm,
        )
    optuna_study = journal.count_images(file, journal.open_study(file), session.budget.n_train)
    if journal.max_epochs_of(optuna_study) >= session.budget.max_epochs:
        return optuna_study
    rule = plan_rule(plan, session.budget, optuna_study)
    restore_rule(rule, journal.proposed_trials(optuna_study), session.objectives[0])
    return journal.extend_max_epochs(
        file,
        optuna_study,
        session.budget.max_epochs,
        lambda trial: (
            trial.user_attrs.get(STOP_REASON) == StopReason.RUNG
            and rule is not None
            and rule.promising(trial.user_attrs[journal.TRIAL_ID], number_of(trial))
        ),
    )


def restore_trials(
    study: optuna.Study, plan: SearchPlan, scheduler: EarlyStopping, tables: StudyTables
) -> list[Unfinished]:
    """Bring scheduler, tables and journal to one state; return the trials to be continued, by number.

    ``tables`` hold what is in their files. A second call finds nothing more to do, so it does not matter if
    this one is killed.
    """
    trials = journal.proposed_trials(study)
    restore_rule(scheduler.rule, trials, tables.objective)
    unfinished = []
    for trial in trials:
        if trial.state.is_finished():
            _restore_finished(trial, study, plan, tables)
        elif (restored := _restore_unfinished(trial, study, plan, scheduler, tables)) is not None:
            unfinished.append(restored)
    tables.write()
    return unfinished


def plan_rule(plan: Plan, budget: Budget, study: optuna.Study) -> StoppingRule | None:
    """Return the rule that stops weak trials, one for each budget with which trials were proposed."""
    rule = plan.make_rule(budget)
    budgets = {
        number_of(trial): journal.schedule_epochs_of(study, trial)[0]
        for trial in journal.proposed_trials(study)
    }
    earlier = {number: epochs for number, epochs in budgets.items() if epochs != budget.max_epochs}
    return PerBudget(rule, earlier) if rule and earlier else rule


def restore_rule(rule: StoppingRule | None, trials: Sequence[FrozenTrial], objective: Objective) -> None:
    """Give the stopping rule what every trial has reported, so that none is judged twice."""
    for trial in trials:
        if rule is not None:
            values = {at: objective.sign * v[0] for at, v in sorted(journal.curve(trial).items())}
            rule.restore(trial.user_attrs[journal.TRIAL_ID], number_of(trial), values)


def _restore_finished(trial: FrozenTrial, study: optuna.Study, plan: SearchPlan, tables: StudyTables) -> None:
    """Complete the row and the reports of a trial that has ended."""
    trial_id, _ = _open_row(trial, study, plan, tables)
    if not journal.curve(trial).keys() <= tables.epochs.get(trial_id, {}).keys():
        checkpoint = newest_checkpoint(tables.run, trial_id)
        _add_reports(tables, trial_id, _history(checkpoint, tables.budget))
    outcome = journal.intended_state(trial)
    assert outcome is not None
    _finish_row(tables, trial_id, outcome, trial)


def _restore_unfinished(
    trial: FrozenTrial,
    study: optuna.Study,
    plan: SearchPlan,
    scheduler: EarlyStopping,
    tables: StudyTables,
) -> Unfinished | None:
    """Bring row and journal of a trial to its last checkpoint; None if it has ended there."""
    journal.set_running(study, trial)
    trial_id, params = _open_row(trial, study, plan, tables)
    checkpoint = newest_checkpoint(tables.run, trial_id)
    history = _history(checkpoint, tables.budget)
    _add_reports(tables, trial_id, history)
    outcome = _catch_up(trial, trial_id, history, study, scheduler, tables)
    if outcome is None:
        tables.reopen(trial_id, params)
        location = checkpoint.location if checkpoint else None
        proposal = proposal_of(trial)
        return Unfinished(number_of(trial), trial_id, trial._trial_id, params, location, proposal)
    journal.write_intended_state(study, trial._trial_id, outcome, scheduler.cutoff_of(trial_id))
    journal.tell(study, trial._trial_id, outcome, tables.objectives)
    _finish_row(tables, trial_id, outcome, study._storage.get_trial(trial._trial_id))
    return None


def _open_row(
    trial: FrozenTrial, study: optuna.Study, plan: SearchPlan, tables: StudyTables
) -> tuple[str, dict[str, Any]]:
    """Make sure that a trial has its row; return its id and params."""
    trial_id: str = trial.user_attrs[journal.TRIAL_ID]
    schedule_epochs = journal.schedule_epochs_of(study, trial)
    params = trial_params(
        proposed_params(plan.space, trial), number_of(trial), plan.seed, tables.budget, schedule_epochs
    )
    tables.open(trial_id, number_of(trial), params, proposal_of(trial))
    return trial_id, params


def _history(checkpoint: TrialCheckpoint | None, budget: Budget) -> list[dict[str, Any]]:
    """Return what a checkpoint says was reported; an older version did so after whole epochs alone."""
    reports = checkpoint.history if checkpoint else []
    return [{TIME_ATTR: round(each["epoch"] * budget.n_train), "quick": False} | each for each in reports]


def _add_reports(tables: StudyTables, trial_id: str, history: list[dict[str, Any]]) -> None:
    """Record what a checkpoint has and the tables lack."""
    known = set(tables.epochs.get(trial_id, ()))
    for result in history:
        if result[TIME_ATTR] not in known:
            tables.record_report(trial_id, result)


def _catch_up(
    trial: FrozenTrial,
    trial_id: str,
    history: list[dict[str, Any]],
    study: optuna.Study,
    scheduler: EarlyStopping,
    tables: StudyTables,
) -> Outcome | None:
    """Store the reports that the journal has missed, and judge the last as if it had just been reported.

    Those before it were judged, or the trial would not have continued: a journal under a URI may be older.
    """
    outcome, known = journal.intended_state(trial), journal.curve(trial)
    for result in history:
        images, values = result[TIME_ATTR], objective_values(result, tables.objectives)
        if images in known or values is None:
            continue
        journal.record_values(study, trial._trial_id, images, values, quick=result["quick"])
        if result is not history[-1] or outcome is not None or images >= tables.budget.images:
            restore_rule(scheduler.rule, [study._storage.get_trial(trial._trial_id)], tables.objective)
        elif scheduler.judge(trial_id, number_of(trial), images, values[0]):
            outcome = Outcome(TrialStatus.STOPPED_EARLY, StopReason.RUNG)
    if outcome is None and history and history[-1][TIME_ATTR] >= tables.budget.images:
        outcome = Outcome(TrialStatus.COMPLETED)
    return outcome


def _finish_row(tables: StudyTables, trial_id: str, outcome: Outcome, trial: FrozenTrial) -> None:
    row = tables.trials[trial_id]
    if (row["status"], row["stop_reason"]) != (outcome.status, outcome.stop_reason):
        tables.end(trial_id, outcome, trial.user_attrs.get(journal.CUTOFF))
    elif row["best_epoch"] is not None and not _is_kept(tables.run, row):
        tables.keep_checkpoint(trial_id)  # it could not be written then, or a power cut has damaged it


def _is_kept(run: RunDirectory, row: dict[str, Any]) -> bool:
    """Whether the model of a trial's best epoch is there; under a URI, a file is whole or absent."""
    return row["checkpoint"] is not None and (
        run.mirror is not None or is_whole(run.checkpoint_dir(row["trial_id"]))
    )
