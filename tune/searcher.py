"""The bridge between Ray Tune and Optuna: Optuna proposes, and is told the truth about every trial.

Ray's own `OptunaSearch` tells COMPLETE for a trial that was stopped early, and leaves a diverged one RUNNING.
Here a full-budget trial is COMPLETE with its best epoch's objective, one that ASHA stopped PRUNED, all else
FAIL; each epoch's objective is an intermediate value, and nothing is RUNNING once the search has ended.
"""

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from ray.tune.search import Searcher

from tune.objective import Objective
from tune.outcome import Outcome, cut_short, ended, failed
from tune.scheduler import TIME_ATTR
from tune.space import Space
from vae.errors import UserError

DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
SAMPLERS = ("tpe", "random")

# TPE needs a handful of points before its density means anything, and the default search has 20 trials in
# all, of which the start list takes six: Optuna's own 10 would leave TPE half of the budget.
STARTUP_TRIALS = 8


def make_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Return one of `SAMPLERS` by name.

    Raises
    ------
    UserError
        There is no sampler of that name.
    """
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name != "tpe":
        raise UserError(f"the sampler must be one of {', '.join(SAMPLERS)}, got '{name}'")
    with warnings.catch_warnings():  # `group` is marked experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=STARTUP_TRIALS,
            multivariate=True,  # learning rate and batch size, loss and KL weight depend on each other
            group=True,  # a conditional space
            constant_liar=True,  # trials run in parallel
        )


def create_study(
    journal: Path, name: str, objective: Objective, sampler: optuna.samplers.BaseSampler
) -> optuna.Study:
    """Create the Optuna study of a search in its journal file; opens in optuna-dashboard."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(journal))),
        study_name=name,
        direction=DIRECTIONS[objective.mode],
        sampler=sampler,
        pruner=optuna.pruners.NopPruner(),  # ASHA decides, in Ray
    )


def trial_seed(study_seed: int, number: int) -> int:
    """Return the seed of one trial: a function of the study's seed and the trial's number, nothing else."""
    return int(np.random.SeedSequence((study_seed, number)).generate_state(1)[0]) & 0x7FFF_FFFF


def trial_name(number: int, params: Mapping[str, Any]) -> str:
    """Return the trial's id, which is also the name of its directories, such as ``0007-conv-32d``."""
    parts = [f"{number:04d}"]
    if "architecture" in params:
        parts.append(str(params["architecture"]))
    if "latent_dim" in params:
        parts.append(f"{params['latent_dim']}d")
    return "-".join(parts)


class OptunaSearcher(Searcher):
    """Propose trials from a space, and report each epoch and each end back to an Optuna study.

    A trial's Ray config is ``{"trial_id", "number", "params"}``; ``params`` are those of `vae.config.Config`.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        objective: Objective,
        *,
        max_epochs: int,
        seed: int,
        n_trials: int,
    ) -> None:
        super().__init__(metric=objective.name, mode=objective.mode)
        self.study = study
        self.space = space
        self.objective = objective
        self.max_epochs = max_epochs
        self.seed = seed
        self._live: dict[str, optuna.Trial] = {}
        for point in space.start_points()[:n_trials]:
            study.enqueue_trial(point)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Draw the next configuration; called by Ray with its own trial id."""
        trial = self.study.ask()
        self._live[trial_id] = trial
        params = self.space.sample(trial)
        params |= {"max_epochs": self.max_epochs, "seed": trial_seed(self.seed, trial.number)}
        name = trial_name(trial.number, params)
        trial.set_user_attr("trial_id", name)
        trial.set_user_attr("ray_trial_id", trial_id)
        return {"trial_id": name, "number": trial.number, "params": params}

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Report one epoch; Tune leaves out the one at which a trial is stopped."""
        trial, value = self._live.get(trial_id), result.get(self.objective.name)
        if trial is None or value is None or not math.isfinite(value):
            return
        epoch = int(result[TIME_ATTR])
        # A trial that was restored reports epochs again; Optuna keeps the first, with a warning.
        if epoch not in self._values(trial):
            trial.report(float(value), epoch)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell how a trial ended; ``result`` is its last."""
        if trial_id not in self._live:
            return
        if result:
            self.on_trial_result(trial_id, result)
        self._tell(trial_id, failed(None) if error or not result else ended(result, self.max_epochs))

    def close(self, reason: str) -> None:
        """Tell FAIL for whatever the end of the search took: interrupted, time_budget or error.

        Starting points that were not reached stay WAITING, to be proposed first if the search goes on.
        """
        for trial_id in list(self._live):
            self._tell(trial_id, cut_short(reason))

    def _tell(self, trial_id: str, outcome: Outcome) -> None:
        trial = self._live.pop(trial_id)
        state, values = outcome.optuna_state, self._values(trial).values()
        if state == optuna.trial.TrialState.COMPLETE and not values:
            raise ValueError(
                f"trial {trial.number} ran its full budget without one finite {self.objective.name}"
            )
        trial.set_user_attr("stop_reason", outcome.stop_reason)
        best = max if self.objective.mode == "max" else min
        self.study.tell(
            trial, best(values) if state == optuna.trial.TrialState.COMPLETE else None, state=state
        )

    def _values(self, trial: optuna.Trial) -> dict[int, float]:
        """Return epoch -> objective, as Optuna has it."""
        return self.study._storage.get_trial(trial._trial_id).intermediate_values

    def save(self, checkpoint_path: str) -> None:
        """Write which of Ray's trials is which of Optuna's; all the rest is in the journal."""
        Path(checkpoint_path).write_text(json.dumps({key: trial.number for key, trial in self._live.items()}))

    def restore(self, checkpoint_path: str) -> None:
        """Take up the running trials of a saved searcher on the same journal."""
        numbers: dict[str, int] = json.loads(Path(checkpoint_path).read_text())
        ids = {trial.number: trial._trial_id for trial in self.study.get_trials(deepcopy=False)}
        self._live = {key: optuna.Trial(self.study, ids[number]) for key, number in numbers.items()}
