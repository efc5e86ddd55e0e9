"""Optuna's samplers by name, made anew for each proposal from a seed of its own.

So the proposal of a trial is a function of the study's seed, the trial's number and what Optuna knows: a
search that was killed and resumed proposes what it would have proposed, with nothing stored for it.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna

from tune.algorithms.safe_cmaes import CmaEsSampler
from vae.errors import UsageError

SAMPLERS = ("tpe", "random", "gp", "cmaes", "nsga2", "grid")
SINGLE_OBJECTIVE_ONLY = ("cmaes",)
FINITE_SPACES_ONLY = ("grid",)
NEVER_RANDOM = ("grid",)
"""Those that draw nothing as the random sampler would."""

# TPE needs a handful of points before its density means anything, and the default search has 20 trials in
# all, of which three are starting points: Optuna's own 10 would leave TPE half of the budget.
STARTUP_TRIALS = 8
POPULATION = 10  # of NSGA-II, whose own 50 would make a search of ordinary length random


class GridSampler(optuna.samplers.BruteForceSampler):
    """Optuna's own, which knows conditions, but for its end, which is for `optuna.Study.optimize` alone."""

    def after_trial(self, study: optuna.Study, trial: Any, state: Any, values: Any) -> None:
        pass


def check_sampler(name: str, n_objectives: int = 1, continuous: Sequence[str] = ()) -> None:
    """Raise a UsageError if there is no such sampler, or it cannot serve so many objectives or the space.

    ``continuous`` are the hyperparameters of the space that have a continuous range.
    """
    if name not in SAMPLERS:
        raise UsageError(f"the sampler must be one of {', '.join(SAMPLERS)}, got '{name}'")
    if n_objectives > 1 and name in SINGLE_OBJECTIVE_ONLY:
        able = ", ".join(sampler for sampler in SAMPLERS if sampler not in SINGLE_OBJECTIVE_ONLY)
        raise UsageError(f"the sampler '{name}' knows one objective only, got {n_objectives}; use {able}")
    if continuous and name in FINITE_SPACES_ONLY:
        raise UsageError(
            f"the sampler '{name}' tries every configuration, but {continuous[0]} is a continuous range; "
            "give it a step or a choice, or use --sampler random"
        )


def make_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Return one of `SAMPLERS`; all draw at random first, where they have nothing to go by."""
    check_sampler(name)
    with warnings.catch_warnings():  # `group` is marked experimental, and others
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match name:
            case "tpe":
                return optuna.samplers.TPESampler(
                    seed=seed,
                    n_startup_trials=STARTUP_TRIALS,
                    multivariate=True,  # learning rate and batch size depend on each other, and so on
                    group=True,  # a conditional space
                    constant_liar=True,  # trials run in parallel
                )
            case "gp":
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
            case "cmaes":  # draws what is not a number at random
                return CmaEsSampler(
                    seed=seed, n_startup_trials=STARTUP_TRIALS, warn_independent_sampling=False
                )
            case "nsga2":
                return optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION)
            case "grid":
                return GridSampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def trial_seed(study_seed: int, number: int) -> int:
    """Return the training seed of one trial: a function of the study's seed and the trial's number only."""
    return _seed(study_seed, number)


def proposal_seed(study_seed: int, number: int) -> int:
    """Return the sampler's seed for one proposal; it shares nothing with the seeds of training."""
    return _seed(study_seed, number, 1)


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0]) & 0x7FFF_FFFF
