"""The Optuna study of a search in its journal file: what is written there, and how it is read back.

Each proposal, each report's objective and each end is on disk before the search continues, so the journal is
the memory of a search: a killed one is continued from it. A trial that waits to be continued is WAITING.

Of a study under a URI it is sent there before a trial starts, and with the tables; reports that it lacks
there come back from the trials' own checkpoints, see `tune.restore`.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tune.algorithms.budget import Budget
from tune.algorithms.objective import Objective
from tune.algorithms.outcome import Outcome
from tune.storage.trial_status import STOP_REASON, ProposedBy, StopReason, TrialStatus
from vae.atomic import replaced_file
from vae.errors import StorageError, one_line

DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}

TRIAL_ID, PROPOSAL, CUTOFF, _CURVE, _QUICK = "trial_id", "proposal", "cutoff", "curve", "quick"
_MAX_EPOCHS, _SCHEDULE_EPOCHS, _N_TRAIN = "max_epochs", "schedule_epochs", "n_train"
START = "fixed_params"
"""Optuna's name for what a starting point prescribes."""

Curve = dict[int, tuple[float, ...]]
"""Images seen -> the value of each objective."""


def create_study(
    journal: Path,
    name: str,
    objectives: Sequence[Objective],
    *,
    budget: Budget,
    start: Iterable[Mapping[str, Any]] = (),
    n_warm: int = 0,
) -> optuna.Study:
    """Create the study of a search, which opens in optuna-dashboard.

    ``start`` are proposed first, under Optuna's names (`tune.space.domains.Space.to_optuna`); the first
    ``n_warm`` of them are from another study.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with replaced_file(journal) as temporary:
        study = optuna.create_study(
            storage=_storage(temporary),
            study_name=name,
            directions=[DIRECTIONS[objective.mode] for objective in objectives],
        )
        study.set_user_attr(_MAX_EPOCHS, budget.max_epochs)
        study.set_user_attr(_N_TRAIN, budget.n_train)
        for place, point in enumerate(start):
            enqueue(study, point, ProposedBy.WARM_START if place < n_warm else ProposedBy.START)
    return open_study(journal, name)


def enqueue(study: optuna.Study, point: Mapping[str, Any], proposal: ProposedBy) -> None:
    """Make a configuration, under Optuna's names, one of the next to be proposed."""
    study.enqueue_trial(dict(point), user_attrs={PROPOSAL: str(proposal)})


def open_study(journal: Path, name: str | None = None) -> optuna.Study:
    """Open the study of an earlier process, which may have been killed; that must be gone.

    By default that is the one study which the journal holds: a run directory may have been renamed since.
    What it was proposing at that moment is withdrawn: the next proposal has the same number and seed, and so
    becomes what it would have been.

    Raises
    ------
    StorageError
        The journal is absent or damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not journal.exists():
        raise StorageError(f"cannot read {journal}: it does not exist")
    _repair(journal)
    try:
        study = optuna.load_study(
            study_name=name,
            storage=_storage(journal),
            pruner=optuna.pruners.NopPruner(),  # our scheduler decides, in Ray
        )
        study = _up_to_date(journal, study)
        _check(study)
    except (StorageError, OSError):
        raise
    except Exception as error:  # Optuna believes whatever it reads
        raise StorageError(f"cannot read {journal}: {one_line(error)}") from error
    return study


def _check(study: optuna.Study) -> None:
    """Read what we have written of each trial, so that what is damaged fails here."""
    max_epochs_of(study)
    for trial in proposed_trials(study):
        if not isinstance(trial.user_attrs[TRIAL_ID], str):
            raise ValueError(f"the name of trial {trial.number} is no text")
        schedule_epochs_of(study, trial)
        intended_state(trial)
        curve(trial)


def proposed_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that were proposed, by number; without starting points not yet reached."""
    return [trial for trial in study.get_trials(deepcopy=False) if TRIAL_ID in trial.user_attrs]


def curve(trial: FrozenTrial) -> Curve:
    """Return what a trial has reported."""
    stored: dict[str, list[float]] = trial.user_attrs.get(_CURVE, {})
    return {images: (value,) for images, value in trial.intermediate_values.items()} | {
        int(images): tuple(values) for images, values in stored.items()
    }


def record_values(
    study: optuna.Study, trial_id: int, images: int, values: Sequence[float], *, quick: bool = False
) -> None:
    """Store the objectives of a trial after so many images; the first to come stay.

    The trial is given by Optuna's own id. Optuna has intermediate values for a single objective only;
    several become an attribute.
    """
    storage = study._storage
    trial = storage.get_trial(trial_id)
    known = curve(trial)
    if images in known:
        return
    if quick:  # first, so that a kill in between makes no full report of it
        storage.set_trial_user_attr(trial_id, _QUICK, [*trial.user_attrs.get(_QUICK, ()), images])
    if len(values) == 1:
        storage.set_trial_intermediate_value(trial_id, images, float(values[0]))
    else:
        merged = {str(at): list(v) for at, v in (known | {images: tuple(values)}).items()}
        storage.set_trial_user_attr(trial_id, _CURVE, merged)


def write_intended_state(
    study: optuna.Study, trial_id: int, outcome: Outcome, cutoff: tuple[int, float] | None = None
) -> None:
    """Store how a trial ends before its last value is stored, so that a kill in between changes nothing.

    Of one that was stopped early, ``cutoff`` is the rung and what the objective had to reach there.
    """
    if outcome.stop_reason == StopReason.RUNG and cutoff is not None:
        study._storage.set_trial_user_attr(trial_id, CUTOFF, cutoff)
    study._storage.set_trial_user_attr(trial_id, STOP_REASON, outcome.stop_reason)


def tell(study: optuna.Study, trial_id: int, outcome: Outcome, objectives: Sequence[Objective]) -> None:
    """Tell Optuna how a trial ended: COMPLETE with its best report by the first objective, PRUNED, or FAIL.

    Quick looks do not compare with reports on all validation images and are left out.
    """
    write_intended_state(study, trial_id, outcome)
    trial = study._storage.get_trial(trial_id)
    state = outcome.optuna_state
    values = None
    if state == TrialState.COMPLETE:
        quick = trial.user_attrs.get(_QUICK, ())
        reports = {images: values for images, values in curve(trial).items() if images not in quick}
        if not reports:
            raise ValueError(
                f"trial {trial.number} ran its full budget without one finite {objectives[0].name}"
            )
        best = max(sorted(reports), key=lambda images: objectives[0].sign * reports[images][0])
        values = list(reports[best])
    study.tell(trial.number, values, state=state)


def intended_state(trial: FrozenTrial) -> Outcome | None:
    """Return how a trial ended or was about to, None if it had not."""
    if STOP_REASON not in trial.user_attrs:
        return None
    reason = trial.user_attrs[STOP_REASON]
    if reason is None:
        return Outcome(TrialStatus.COMPLETED)
    return Outcome(TrialStatus.STOPPED_EARLY if reason == StopReason.RUNG else TrialStatus.FAILED, reason)


def set_waiting(study: optuna.Study, trial_id: int) -> None:
    """Mark a trial as one to be continued: it no longer runs, and has not ended."""
    study._storage.set_trial_state_values(trial_id, TrialState.WAITING)


def set_running(study: optuna.Study, trial: FrozenTrial) -> None:
    """Mark a trial as running again."""
    if trial.state != TrialState.RUNNING:
        study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)


def max_epochs_of(study: optuna.Study) -> float:
    """Return the full budget in epochs, at which the study's trials are COMPLETE."""
    return float(study.user_attrs[_MAX_EPOCHS])


def schedule_epochs_of(study: optuna.Study, trial: FrozenTrial) -> list[float]:
    """Return where the schedule of a trial ends: the budget that it was proposed with, and each later one."""
    return list(trial.user_attrs.get(_SCHEDULE_EPOCHS) or [max_epochs_of(study)])


def extend_max_epochs(
    journal: Path,
    study: optuna.Study,
    max_epochs: float,
    reopens: Callable[[FrozenTrial], bool],
) -> optuna.Study:
    """Write the journal anew for a larger budget, in one step.

    A trial that was COMPLETE is not any more: it waits to be continued, and so does each other one for which
    ``reopens`` holds. Optuna cannot reopen a trial, so all are copied, under the same numbers.
    """

    def extended(trial: FrozenTrial) -> FrozenTrial:
        if TRIAL_ID in trial.user_attrs:
            trial.set_user_attr(_SCHEDULE_EPOCHS, [*schedule_epochs_of(study, trial), max_epochs])
        if not (trial.state == TrialState.COMPLETE or (trial.state.is_finished() and reopens(trial))):
            return trial
        return optuna.trial.create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            intermediate_values=trial.intermediate_values,
            user_attrs={n: v for n, v in trial.user_attrs.items() if n not in (STOP_REASON, CUTOFF)},
            system_attrs=trial.system_attrs,  # what NSGA-II and CMA-ES remember
        )

    # Without the study's own memory: NSGA-II keeps parents there that it chose by the values of before.
    attrs = study.user_attrs | {_MAX_EPOCHS: max_epochs}
    return _rewrite(journal, study, map(extended, study.get_trials()), attrs, {})


def count_images(journal: Path, study: optuna.Study, n_train: int) -> optuna.Study:
    """Write a journal of an older version, which counted epochs, anew with images; another stays as it is."""
    if _N_TRAIN in study.user_attrs:
        return study

    def counted(trial: FrozenTrial) -> FrozenTrial:
        trial.intermediate_values = {n_train * at: value for at, value in trial.intermediate_values.items()}
        if _CURVE in trial.user_attrs:
            values = {str(n_train * int(at)): value for at, value in trial.user_attrs[_CURVE].items()}
            trial.set_user_attr(_CURVE, values)
        if CUTOFF in trial.user_attrs:
            rung, value = trial.user_attrs[CUTOFF]
            trial.set_user_attr(CUTOFF, (n_train * rung, value))
        return trial

    memory = study._storage.get_study_system_attrs(study._study_id)
    attrs = study.user_attrs | {_N_TRAIN: n_train}
    return _rewrite(journal, study, map(counted, study.get_trials()), attrs, memory)


def _up_to_date(journal: Path, study: optuna.Study) -> optuna.Study:
    """Write the journal anew where a kill or an older version has left something else than we would.

    A trial without a name was being proposed: it is withdrawn, or becomes again the starting point it was.
    One that collapsed or diverged was FAIL in older versions.
    """
    trials, changed = [], False
    for trial in study.get_trials():
        if trial.state == TrialState.RUNNING and TRIAL_ID not in trial.user_attrs:
            changed = True
            if START not in trial.system_attrs:
                continue
            start = {START: trial.system_attrs[START]}
            trial = optuna.trial.create_trial(
                state=TrialState.WAITING, system_attrs=start, user_attrs=trial.user_attrs
            )
        elif trial.state == TrialState.FAIL and (outcome := intended_state(trial)) is not None:
            changed |= outcome.optuna_state != trial.state
            trial.state = outcome.optuna_state
        trials.append(trial)
    if not changed:
        return study
    memory = study._storage.get_study_system_attrs(study._study_id)
    return _rewrite(journal, study, trials, study.user_attrs, memory)


def _rewrite(
    journal: Path,
    study: optuna.Study,
    trials: Iterable[FrozenTrial],
    user_attrs: Mapping[str, Any],
    system_attrs: Mapping[str, Any],
) -> optuna.Study:
    """Write the journal of a study anew with these trials, in their order, and these attributes."""
    with replaced_file(journal) as temporary:
        storage = _storage(temporary)
        copy = optuna.create_study(storage=storage, study_name=study.study_name, directions=study.directions)
        for name, value in user_attrs.items():
            copy.set_user_attr(name, value)
        for name, value in system_attrs.items():
            storage.set_study_system_attr(copy._study_id, name, value)
        for trial in trials:
            copy.add_trial(trial)
    return open_study(journal, study.study_name)


def _storage(journal: Path) -> optuna.storages.JournalStorage:
    return optuna.storages.JournalStorage(JournalFileBackend(str(journal)))


def _repair(journal: Path) -> None:
    """Cut off a last line that was half written, and take away the lock of a writer that died."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{journal}.lock")
    content = journal.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with open(journal, "r+b") as file:
            file.truncate(whole)
