"""How much each hyperparameter decides whether a trial is among the best: Optuna's PED-ANOVA."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial

from evaluation.analysis.results import Results
from evaluation.analysis.searched_params import Branch, SearchedParam, searched_params

MIN_TRIALS = 20
"""With fewer, the best quarter has fewer than the five trials that PED-ANOVA asks for."""
BEST = 0.25
"""What counts as among the best: this share of the trials."""
N_SHUFFLES = 200
CHANCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """What is known of one hyperparameter; both as shares of the importance of all."""

    name: str
    share: float
    chance: float
    """With probability `CHANCE`, no hyperparameter would exceed its level if the trials had random ranks."""

    @property
    def beats_chance(self) -> bool:
        """Whether there is anything to be said of it."""
        return self.share > self.chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Importances:
    """The most important hyperparameter first."""

    n_trials: int
    n_best: int
    params: list[Importance]


def importances(results: Results) -> Importances | None:
    """Return what decided about the first objective; None with fewer than `MIN_TRIALS` ranked trials.

    PED-ANOVA (https://arxiv.org/abs/2304.10255, with conditions https://arxiv.org/abs/2601.20800) compares
    where the best trials lie with where all lie. It needs to know which trials are the best and nothing else,
    so it can use those that were stopped at a rung, most of a search, whose values are not comparable with
    those of a full budget: `rank` puts them behind, as Optuna's samplers do. fANOVA would fit a forest to
    values, which leaves only the few full-budget trials, and only hyperparameters that all of them have.

    Few trials give every hyperparameter some importance, one with many values more. So it comes with what
    chance alone would give: the same trials, ranked at random. With fewer than `MIN_TRIALS` that is most of
    it, and nothing is shown. The level of chance is that of all hyperparameters together (Westfall and Young
    1993): the largest of their importances, each in standard deviations from its mean over the random ranks.

    Ranks are only exchangeable where configurations are drawn at random, see `adaptive_sampler`.
    """
    order = rank(results)
    params = searched_params(results)
    if len(order) < MIN_TRIALS or not params:
        return None
    trials = [_optuna_trial(params, row, results.trial_rows[row]) for row in order]
    with _quietly():
        study = optuna.create_study(direction="minimize")
        study.add_trials(trials)
        evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST)

        def evaluate(ranks: NDArray[np.int64]) -> dict[str, float]:
            target: Callable[[FrozenTrial], float] = lambda trial: float(ranks[trial.number])  # noqa: E731
            return get_param_importances(study, evaluator=evaluator, target=target, normalize=False)

        found = evaluate(np.arange(len(order)))
        generator = np.random.default_rng(0)
        shuffled = [evaluate(generator.permutation(len(order))) for _ in range(N_SHUFFLES)]
    total = sum(found.values())
    if not total > 0:
        return None
    chance = levels_of_chance({name: np.array([other[name] for other in shuffled]) for name in found})
    return Importances(
        n_trials=len(order),
        n_best=int(np.ceil(BEST * len(order))),
        params=[
            Importance(
                name=name,
                share=value / total,
                chance=chance[name] / total,
            )
            for name, value in sorted(found.items(), key=lambda item: (-item[1], item[0]))
        ],
    )


def levels_of_chance(shuffled: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Return a level for each hyperparameter: by chance, any of them exceeds its own in 5 % of searches.

    Of each there are its importances under random ranks; entry i of all is that of the same ranks.
    """
    values = np.array(list(shuffled.values()))
    mean, deviation = values.mean(axis=1), values.std(axis=1)
    standardised = (values - mean[:, None]) / np.maximum(deviation, np.finfo(float).tiny)[:, None]
    level = np.quantile(standardised.max(axis=0), CHANCE)
    return dict(zip(shuffled, (mean + level * deviation).tolist(), strict=True))


def adaptive_sampler(results: Results) -> str | None:
    """Return the sampler of a study if it proposes what was good before; None if it draws at random."""
    sampler = results.study and results.study.arguments.get("sampler")
    return None if sampler in (None, "random") else str(sampler)


def rank(results: Results) -> list[int]:
    """Return the rows of `Results.trial_rows` from best to worst, without those that say nothing.

    Trials with the full budget come first, then those that were stopped, the further the better, then those
    that diverged or collapsed. An error, a lack of memory or the end of the search is no verdict.
    """
    sign = 1 if results.mode == "min" else -1
    keys: dict[int, tuple[float, ...]] = {}
    for row, trial in enumerate(results.trial_rows):
        value = trial["objective"]
        if trial["status"] == "completed" and value is not None:
            keys[row] = (0, 0, sign * value)
        elif trial["stop_reason"] == "rung" and value is not None:
            keys[row] = (1, -trial["epochs"], sign * value)
        elif trial["stop_reason"] in ("nan", "collapsed"):
            keys[row] = (2, -(trial["epochs"] or 0), trial["number"])
    return sorted(keys, key=lambda row: keys[row])


def _optuna_trial(params: list[SearchedParam], row: int, trial: Mapping[str, Any]) -> FrozenTrial:
    """Return a trial with where its values came from; PED-ANOVA itself passes over constants."""
    values = {param.name: param.values[row] for param in params}
    drawn: dict[str, BaseDistribution] = {}
    for param in params:
        branch = next((branch for branch in param.branches if branch.applies(trial)), None)
        if branch is not None and values[param.name] in branch:
            drawn[param.name] = _distribution(branch)
    return create_trial(
        state=TrialState.COMPLETE,
        value=0.0,
        params={name: values[name] for name in drawn},
        distributions=drawn,
    )


def _distribution(branch: Branch) -> BaseDistribution:
    if branch.choices is not None:
        return CategoricalDistribution(branch.choices)
    if branch.whole:
        return IntDistribution(int(branch.low), int(branch.high), log=branch.log)
    return FloatDistribution(branch.low, branch.high, log=branch.log)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep Optuna from telling that a study begins and that `normalize` and `target` are what they are."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)
