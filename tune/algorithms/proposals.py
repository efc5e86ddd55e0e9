"""Which configuration is tried next: what the sampler proposes, and none a second time."""

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from tune.algorithms import journal
from tune.algorithms.samplers import NEVER_RANDOM, make_sampler, proposal_seed
from tune.space.configurations import identity, untried
from tune.space.domains import Space
from tune.storage.trial_status import ProposedBy
from vae.errors import StorageError

logger = logging.getLogger(__name__)

MAX_REDRAWS = 10
"""How often a sampler may propose what has been tried before a random configuration takes its place."""


class ProposalPlan(Protocol):
    """What proposals need of `tune.study.plan.Plan`."""

    @property
    def space(self) -> Space: ...
    @property
    def sampler(self) -> str: ...
    @property
    def seed(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration that is to be tried."""

    number: int
    trial_id: str
    optuna_id: int
    params: dict[str, Any]
    proposed_by: str


class Proposals:
    """Proposes configurations; those tried in this study are spared, however they ended.

    It remembers nothing beyond the study, so that a resumed search proposes what an unbroken one would have.
    What a sampler proposes in vain stays in the study as FAIL, without a name.
    """

    def __init__(self, study: optuna.Study, plan: ProposalPlan) -> None:
        self.study = study
        self.plan = plan
        self._identities: dict[int, Hashable] = {}  # by Optuna's id; they never change

    def tried(self) -> set[Hashable]:
        """Return the `identity` of each configuration that was proposed."""
        space = self.plan.space
        for trial in journal.proposed_trials(self.study):
            if trial._trial_id not in self._identities:
                self._identities[trial._trial_id] = identity(space, proposed_params(space, trial))
        return set(self._identities.values())

    def propose(self) -> Proposal | None:
        """Return the next configuration, None if no new one was found; starting points come first."""
        space, tried = self.plan.space, self.tried()
        redraws = 0
        while redraws < MAX_REDRAWS:
            trial = self._ask()
            params = space.sample(trial)
            if identity(space, params) not in tried:
                return self._accept(trial, params)
            self.study.tell(trial, state=TrialState.FAIL)
            redraws += not is_prescribed(self.study, trial._trial_id)
        other = untried(space, tried, self._seed())
        if other is None:
            return None
        journal.enqueue(self.study, space.to_optuna(other), ProposedBy.RANDOM)
        trial = self._ask()
        return self._accept(trial, space.sample(trial))

    def _ask(self) -> optuna.Trial:
        self.study.sampler = make_sampler(self.plan.sampler, self._seed())
        return self.study.ask()

    def _seed(self) -> int:
        n_proposed = sum(t.state != TrialState.WAITING for t in self.study.get_trials(deepcopy=False))
        return proposal_seed(self.plan.seed, n_proposed)

    def _accept(self, trial: optuna.Trial, params: dict[str, Any]) -> Proposal:
        numbers = map(number_of, journal.proposed_trials(self.study))
        number = max(numbers, default=-1) + 1
        name, proposed_by = trial_name(number, params), self._proposed_by(trial)
        trial.set_user_attr(journal.PROPOSAL, proposed_by)
        trial.set_user_attr(journal.TRIAL_ID, name)  # last: a trial without it is withdrawn after a kill
        return Proposal(number, name, trial._trial_id, params, proposed_by)

    def _proposed_by(self, trial: optuna.Trial) -> str:
        if is_prescribed(self.study, trial._trial_id):
            return str(trial.user_attrs.get(journal.PROPOSAL, ProposedBy.START))
        # What depends on earlier trials is "relative" in Optuna; without, a sampler has drawn at random.
        adaptive = self.plan.sampler in NEVER_RANDOM or bool(trial.relative_params)
        return str(ProposedBy.SAMPLER if adaptive else ProposedBy.RANDOM)


def number_of(trial: FrozenTrial) -> int:
    """Return the place of a trial in the order of the proposals.

    Optuna's own number also counts what was proposed in vain, since it had been tried before.
    """
    head = str(trial.user_attrs[journal.TRIAL_ID]).partition("-")[0]
    return int(head) if head.isdecimal() else trial.number


def proposed_params(space: Space, trial: FrozenTrial) -> dict[str, Any]:
    """Return the configuration of a trial of a journal.

    Raises
    ------
    StorageError
        It is none of the space: one of both is damaged, or another study's.
    """
    try:
        return space.sample(trial)
    except (ValueError, TypeError, KeyError) as error:
        name = trial.user_attrs[journal.TRIAL_ID]
        raise StorageError(f"the journal has {name}, which is none of the study's space: {error}") from error


def proposal_of(trial: FrozenTrial) -> str | None:
    """Return where the configuration of a trial came from, None in a journal of an older version."""
    return trial.user_attrs.get(journal.PROPOSAL)


def is_prescribed(study: optuna.Study, trial_id: int) -> bool:
    """Whether a trial, given by Optuna's own id, is a starting point: the sampler has not drawn it."""
    return journal.START in study._storage.get_trial(trial_id).system_attrs


def trial_name(number: int, params: Mapping[str, Any]) -> str:
    """Return the trial's id, which is also the name of its directories, such as ``0007-conv-32d``."""
    parts = [f"{number:04d}"]
    if "architecture" in params:
        parts.append(str(params["architecture"]))
    if "latent_dim" in params:
        parts.append(f"{params['latent_dim']}d")
    return "-".join(parts)
