"""What an earlier driver has left, put together again: from Optuna's journal, the tables and the checkpoints.

The journal says which trials there are, what they reported and how they ended. A trial's own checkpoint says
what it reported last, where the driver died before it could write that down. The tables say the rest.
"""

import logging
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from evaluation.run_directory import RunDirectory
from tune import journal
from tune.objective import Objective
from tune.outcome import COMPLETED, FAILED, RUNG, STOPPED_EARLY, Outcome
from tune.recorder import Recorder
from tune.scheduler import EarlyStopping
from tune.searcher import Unfinished, objective_values, trial_name, trial_params
from tune.space import Space
from tune.trial_files import newest_checkpoint

logger = logging.getLogger(__name__)


def take_up(
    run: RunDirectory,
    study: optuna.Study,
    space: Space,
    objectives: Sequence[Objective],
    scheduler: EarlyStopping,
    recorder: Recorder,
    *,
    max_epochs: int,
    seed: int,
) -> list[Unfinished]:
    """Bring scheduler, recorder and journal to one state; return the trials that have to go on, by number.

    A second call finds nothing more to do, so it does not matter if it is killed as well.
    """
    recorder.load()
    trials = journal.begun(study)
    restore_rule(scheduler, trials, objectives[0])
    unfinished = []
    for trial in trials:
        left = _take_up_trial(run, study, trial, space, objectives, scheduler, recorder, max_epochs, seed)
        if left is not None:
            unfinished.append(left)
    recorder.write()
    return unfinished


def restore_rule(scheduler: EarlyStopping, trials: Sequence[FrozenTrial], objective: Objective) -> None:
    """Tell the stopping rule what every trial has reported, so that none is judged twice."""
    for trial in trials:
        if scheduler.rule and (name := trial.user_attrs.get(journal.TRIAL_ID)):
            values = {e: objective.sign * v[0] for e, v in sorted(journal.curve(trial).items())}
            scheduler.rule.restore(name, trial.number, values)


def _take_up_trial(
    run: RunDirectory,
    study: optuna.Study,
    trial: FrozenTrial,
    space: Space,
    objectives: Sequence[Objective],
    scheduler: EarlyStopping,
    recorder: Recorder,
    max_epochs: int,
    seed: int,
) -> Unfinished | None:
    if trial.state.is_finished():
        sampled = space.sample(trial)
    else:  # what was not drawn before the driver died is drawn now
        journal.set_running(study, trial)
        sampled = space.sample(optuna.Trial(study, trial._trial_id))
    trial_id = trial.user_attrs.get(journal.TRIAL_ID) or trial_name(trial.number, sampled)
    params = trial_params(sampled, trial.number, max_epochs=max_epochs, seed=seed)
    row = recorder.open(trial_id, trial.number, params)
    checkpoint = newest_checkpoint(run, trial_id)
    history = checkpoint.history if checkpoint else []
    known = recorder.epochs.get(trial_id, {})
    for result in history:
        if result["epoch"] not in known:
            recorder.record_epoch(trial_id, result)

    if trial.state.is_finished():
        _settle_row(recorder, row, _outcome(trial), trial)
        return None
    study._storage.set_trial_user_attr(trial._trial_id, journal.TRIAL_ID, trial_id)
    outcome = journal.announced(trial)
    outcome = _catch_up(study, trial, trial_id, history, objectives, scheduler, max_epochs, outcome)
    if outcome is not None:
        if outcome.stop_reason == RUNG and (decisions := scheduler.decisions.get(trial_id)):
            row["rung"], row["cutoff"] = decisions[-1].rung, objectives[0].sign * decisions[-1].cutoff
        journal.tell(study, trial._trial_id, outcome, objectives)
        _settle_row(recorder, row, outcome, trial)
        return None
    recorder.reopen(trial_id, max_epochs)
    path = checkpoint.path if checkpoint else None
    return Unfinished(trial.number, trial_id, trial._trial_id, params, path)


def _catch_up(
    study: optuna.Study,
    trial: FrozenTrial,
    trial_id: str,
    history: list[dict[str, Any]],
    objectives: Sequence[Objective],
    scheduler: EarlyStopping,
    max_epochs: int,
    outcome: Outcome | None,
) -> Outcome | None:
    """Store the epochs that the journal has missed, and judge them as if they had just been reported."""
    known = journal.curve(trial)
    for result in history:
        values = objective_values(result, objectives)
        if result["epoch"] in known or values is None:
            continue
        journal.record_epoch(study, trial._trial_id, result["epoch"], values)
        judged = outcome is None and result["epoch"] < max_epochs
        if judged and scheduler.judge(trial_id, trial.number, result["epoch"], values[0]):
            outcome = Outcome(STOPPED_EARLY, RUNG)
    if outcome is None and history and history[-1]["epoch"] >= max_epochs:
        outcome = Outcome(COMPLETED)
    return outcome


def _settle_row(recorder: Recorder, row: dict[str, Any], outcome: Outcome, trial: FrozenTrial) -> None:
    if (row["status"], row["stop_reason"]) == (outcome.status, outcome.stop_reason):
        return
    if outcome.stop_reason == RUNG and journal.CUTOFF in trial.user_attrs:
        row["rung"], row["cutoff"] = trial.user_attrs[journal.CUTOFF]
    recorder.end(row["trial_id"], outcome)


def _outcome(trial: FrozenTrial) -> Outcome:
    if trial.state == TrialState.COMPLETE:
        return Outcome(COMPLETED)
    reason = trial.user_attrs.get(journal.STOP_REASON)
    return Outcome(STOPPED_EARLY, RUNG) if trial.state == TrialState.PRUNED else Outcome(FAILED, reason)
