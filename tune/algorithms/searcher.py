"""The bridge between Ray Tune and Optuna: Optuna proposes, and learns how every trial really ended.

Ray's own `OptunaSearch` reports a trial that was stopped early as COMPLETE, and a diverged one stays RUNNING.
Here a full-budget trial is COMPLETE with its best objective, quick looks left out. One that was stopped
early, collapsed or diverged is PRUNED, one that raised or ran out of memory FAIL. The objective at each
report is an intermediate value, and nothing is RUNNING once the search has ended.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, cast

import optuna
from ray.tune.search import Searcher

from tune.algorithms import journal
from tune.algorithms.budget import Budget
from tune.algorithms.ending import Ending, EndingPlan, find_ending
from tune.algorithms.objective import Objective
from tune.algorithms.outcome import Outcome
from tune.algorithms.proposals import ProposalPlan, Proposals
from tune.algorithms.samplers import trial_seed
from tune.storage.trial_status import TIME_ATTR, TrialStatus

logger = logging.getLogger(__name__)

_FINISHED = cast("None", Searcher.FINISHED)  # a string, which Ray tells from a configuration


class SearchPlan(ProposalPlan, EndingPlan, Protocol):
    """What the searcher needs of `tune.study.plan.Plan`."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A trial that an earlier driver did not finish, and the checkpoint from which it is continued."""

    number: int
    trial_id: str
    optuna_id: int
    params: dict[str, Any]
    checkpoint: str | None
    """Where it is, see `tune.trials.checkpoints.TrialCheckpoint`; None: it starts over."""
    proposal: str | None = None
    """Where its configuration came from, if that is known."""


class OptunaSearcher(Searcher):
    """Propose trials from a space, and report each value and each end back to an Optuna study.

    A trial's Ray config is ``{"trial_id", "number", "proposal", "params", "resume_from"}``; ``params`` are
    those of `vae.config.Config`.

    Parameters
    ----------
    study
        Where trials are proposed and reported.
    plan
        Space, sampler and seed.
    budget
        Of the study's trials.
    objectives
        Of the study.
    unfinished
        Trials that an earlier driver did not finish; they come first.
    cutoff_of
        The rung of a trial's last decision and the cutoff there: `EarlyStopping.cutoff_of`.
    extended_at
        When the study was extended: the patience counts from then.
    """

    def __init__(
        self,
        study: optuna.Study,
        plan: SearchPlan,
        budget: Budget,
        objectives: Sequence[Objective],
        *,
        unfinished: Sequence[Unfinished] = (),
        cutoff_of: Callable[[str], tuple[int, float] | None] = lambda trial_id: None,
        extended_at: datetime | None = None,
    ) -> None:
        super().__init__(metric=objectives[0].name, mode=objectives[0].mode)
        self.study = study
        self.plan = plan
        self.budget = budget
        self.objectives = tuple(objectives)
        self._cutoff_of = cutoff_of
        self._unfinished = list(unfinished)
        self._extended_at = extended_at
        self._proposals = Proposals(study, plan)
        self._live: dict[str, int] = {}  # Ray's trial id -> Optuna's
        self._running: set[str] = set()  # those that Ray has not ended, by Ray's trial id

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next configuration; called by Ray with its own trial id."""
        if self._unfinished:
            trial = self._unfinished.pop(0)
            self._start(trial_id, trial.optuna_id)
            return _ray_config(trial.number, trial.trial_id, trial.params, trial.proposal, trial.checkpoint)
        if self.ending() is not None:
            # What still runs may be better than all before, and then the search continues.
            return None if self._running else _FINISHED
        proposal = self._proposals.propose()
        if proposal is None:
            logger.warning("ending: the sampler proposes nothing any more that has not been tried")
            return _FINISHED
        self._start(trial_id, proposal.optuna_id)
        params = trial_params(proposal.params, proposal.number, self.plan.seed, self.budget)
        return _ray_config(proposal.number, proposal.trial_id, params, proposal.proposed_by)

    def ending(self) -> Ending | None:
        """Return why nothing more is proposed; None as long as the search continues."""
        tried, since = self._proposals.tried(), self._extended_at
        return find_ending(self.study, self.plan, self.objectives[0], tried, since=since)

    def _start(self, trial_id: str, optuna_id: int) -> None:
        self._live[trial_id] = optuna_id
        self._running.add(trial_id)

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Store one report; Tune leaves out the one at which a trial is stopped."""
        values = objective_values(result, self.objectives)
        if trial_id in self._live and values is not None:
            journal.record_values(
                self.study,
                self._live[trial_id],
                int(result[TIME_ATTR]),
                values,
                quick=bool(result.get("quick")),
            )

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna how a trial ended; ``result`` is its last. Of an error the recorder knows more."""
        self._running.discard(trial_id)
        if trial_id not in self._live or error or not result:
            return
        outcome, optuna_id = Outcome.from_result(result, self.budget.images), self._live[trial_id]
        name = self.study._storage.get_trial(optuna_id).user_attrs[journal.TRIAL_ID]
        # After a kill in between, one that was stopped ends so. One that collapsed trains that part again, as
        # its last report is in no checkpoint.
        if outcome.status != TrialStatus.FAILED:
            journal.write_intended_state(self.study, optuna_id, outcome, self._cutoff_of(name))
        self.on_trial_result(trial_id, result)
        self.tell(trial_id, outcome)

    def tell(self, trial_id: str, outcome: Outcome) -> None:
        """Tell Optuna the outcome of a trial, given by Ray's id, unless Optuna knows it."""
        if trial_id in self._live:
            journal.tell(self.study, self._live.pop(trial_id), outcome, self.objectives)

    def close(self) -> None:
        """Mark the trials that have not ended as WAITING, to be continued; nothing stays RUNNING.

        Starting points that were not reached are WAITING too, to be proposed first if the search is resumed.
        """
        for optuna_id in [*self._live.values(), *(trial.optuna_id for trial in self._unfinished)]:
            journal.set_waiting(self.study, optuna_id)
        self._live.clear()
        self._unfinished.clear()

    def save(self, checkpoint_path: str) -> None:
        """Write nothing of use: the journal has it all, and a search is continued by `tune.restore`."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search is continued by `python -m tune resume`, not by Tuner.restore")


def objective_values(result: Mapping[str, Any], objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """Return the value of each objective, None unless all are there and finite."""
    values = [result.get(objective.name) for objective in objectives]
    finite = [float(value) for value in values if value is not None and math.isfinite(value)]
    return tuple(finite) if len(finite) == len(values) else None


def _ray_config(
    number: int, trial_id: str, params: dict[str, Any], proposal: str | None, checkpoint: str | None = None
) -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "number": number,
        "proposal": proposal,
        "params": params,
        "resume_from": checkpoint,
    }


def trial_params(
    params: Mapping[str, Any],
    number: int,
    study_seed: int,
    budget: Budget,
    schedule_epochs: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Complete sampled params by what belongs to the study: the budget and the seed of training.

    ``schedule_epochs`` are those of a trial that was proposed with another budget.
    """
    return {
        **params,
        "max_epochs": budget.max_epochs,
        "schedule_epochs": list(schedule_epochs or [budget.max_epochs]),
        "seed": trial_seed(study_seed, number),
    }
