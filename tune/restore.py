"""What an earlier driver has left, put together again: from Optuna's journal, the tables and the checkpoints.

The journal says which trials there are, what they reported and how they ended. A trial's own checkpoint says
what it reported last, where the driver died before it could write that down. The tables say the rest.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from tune.algorithms import journal
from tune.algorithms.objective import Objective
from tune.algorithms.outcome import Outcome
from tune.algorithms.scheduler import EarlyStopping
from tune.algorithms.searcher import Unfinished, objective_values, trial_name, trial_params
from tune.callbacks.recorder import Recorder
from tune.space.domains import Space
from tune.storage.run_directory import RunDirectory
from tune.storage.trial_status import COMPLETED, FAILED, RUNG, STOPPED_EARLY
from tune.trials.checkpoints import newest_checkpoint

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """The parts of a search that have to agree before it goes on.

    Parameters
    ----------
    max_epochs, seed
        Of the study.
    """

    run: RunDirectory
    study: optuna.Study
    space: Space
    objectives: Sequence[Objective]
    scheduler: EarlyStopping
    recorder: Recorder
    max_epochs: int
    seed: int

    def take_up(self) -> list[Unfinished]:
        """Bring scheduler, recorder and journal to one state; return the trials that go on, by number.

        A second call finds nothing more to do, so it does not matter if it is killed as well.
        """
        self.recorder.load()
        trials = journal.proposed_trials(self.study)
        restore_rule(self.scheduler, trials, self.objectives[0])
        unfinished = [left for trial in trials if (left := self._take_up_trial(trial)) is not None]
        self.recorder.write()
        return unfinished

    def _take_up_trial(self, trial: FrozenTrial) -> Unfinished | None:
        if trial.state.is_finished():
            sampled = self.space.sample(trial)
        else:  # what was not drawn before the driver died is drawn now
            journal.set_running(self.study, trial)
            sampled = self.space.sample(optuna.Trial(self.study, trial._trial_id))
        trial_id = trial.user_attrs.get(journal.TRIAL_ID) or trial_name(trial.number, sampled)
        params = trial_params(sampled, trial.number, max_epochs=self.max_epochs, seed=self.seed)
        row = self.recorder.open(trial_id, trial.number, params)
        known = self.recorder.epochs.get(trial_id, {})
        told = trial.state.is_finished() and journal.curve(trial).keys() <= known.keys()
        checkpoint = None if told else newest_checkpoint(self.run, trial_id)
        history = checkpoint.history if checkpoint else []
        for result in history:
            if result["epoch"] not in known:
                self.recorder.record_epoch(trial_id, result)

        if trial.state.is_finished():
            self._finish_row(row, _outcome(trial), trial)
            return None
        self.study._storage.set_trial_user_attr(trial._trial_id, journal.TRIAL_ID, trial_id)
        outcome = self._catch_up(trial, trial_id, history)
        if outcome is not None:
            journal.write_intended_state(
                self.study, trial._trial_id, outcome, self.scheduler.cutoff_of(trial_id)
            )
            journal.tell(self.study, trial._trial_id, outcome, self.objectives)
            self._finish_row(row, outcome, self.study._storage.get_trial(trial._trial_id))
            return None
        self.recorder.reopen(trial_id, self.max_epochs)
        left = checkpoint.location if checkpoint else None
        return Unfinished(trial.number, trial_id, trial._trial_id, params, left)

    def _catch_up(self, trial: FrozenTrial, trial_id: str, history: list[dict[str, Any]]) -> Outcome | None:
        """Store the epochs that the journal has missed, and judge the last as if it had just been reported.

        Those before it were judged, or the trial would not have gone on: a journal under a URI may be older.
        """
        outcome, known = journal.intended_state(trial), journal.curve(trial)
        for result in history:
            epoch, values = result["epoch"], objective_values(result, self.objectives)
            if epoch in known or values is None:
                continue
            journal.record_epoch(self.study, trial._trial_id, epoch, values)
            if result is not history[-1]:
                restore_rule(
                    self.scheduler, [self.study._storage.get_trial(trial._trial_id)], self.objectives[0]
                )
                continue
            judged = outcome is None and epoch < self.max_epochs
            if judged and self.scheduler.judge(trial_id, trial.number, epoch, values[0]):
                outcome = Outcome(STOPPED_EARLY, RUNG)
        if outcome is None and history and history[-1]["epoch"] >= self.max_epochs:
            outcome = Outcome(COMPLETED)
        return outcome

    def _finish_row(self, row: dict[str, Any], outcome: Outcome, trial: FrozenTrial) -> None:
        if (row["status"], row["stop_reason"]) == (outcome.status, outcome.stop_reason):
            if row["checkpoint"] is None and row["best_epoch"] is not None:
                self.recorder.keep(row["trial_id"])  # it could not be written then
            return
        if outcome.stop_reason == RUNG and journal.CUTOFF in trial.user_attrs:
            row["rung"], row["cutoff"] = trial.user_attrs[journal.CUTOFF]
        self.recorder.end(row["trial_id"], outcome)


def restore_rule(scheduler: EarlyStopping, trials: Sequence[FrozenTrial], objective: Objective) -> None:
    """Tell the stopping rule what every trial has reported, so that none is judged twice."""
    for trial in trials:
        if scheduler.rule and (name := trial.user_attrs.get(journal.TRIAL_ID)):
            values = {e: objective.sign * v[0] for e, v in sorted(journal.curve(trial).items())}
            scheduler.rule.restore(name, trial.number, values)


def _outcome(trial: FrozenTrial) -> Outcome:
    if trial.state == TrialState.COMPLETE:
        return Outcome(COMPLETED)
    reason = trial.user_attrs.get(journal.STOP_REASON)
    return Outcome(STOPPED_EARLY, RUNG) if trial.state == TrialState.PRUNED else Outcome(FAILED, reason)
