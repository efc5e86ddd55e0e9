"""What is known about each finalist: validation beside test, and retrainings with fresh seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from evaluation.analysis.comparison import ComparisonRow
from evaluation.analysis.results import Results
from evaluation.embedders import EmbeddingKey
from evaluation.scores.confidence import Interval, t_interval
from evaluation.scores.settings import ALL_IMAGES_K10, FEW_SHOT_500, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshSeeds:
    """A finalist trained again with fresh seeds; an interval is None where nothing was measured."""

    n: int
    """Trainings that completed."""
    n_failed: int
    objective: Interval | None
    """Of the objective on the validation images."""
    test: Interval | None
    few_shot: Interval | None
    optimism: float | None
    """`Finalist.optimism` of these trainings, on average; only the best epoch of each was selected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """One finalist; accuracies in [0, 1]."""

    row: ComparisonRow
    trial: dict[str, Any]
    """Its row of `trials`; empty for a bare checkpoint."""
    validation: float | None
    test_at_validation_size: float | None
    """The test accuracy with as many references as the search's validation had."""
    optimism: float | None
    """``validation - test_at_validation_size``: how much selection has inflated it."""
    fresh: FreshSeeds | None
    """None if it was not trained again."""


def finalist_rows(results: Results) -> list[Finalist]:
    """Return the evaluated finalists, best first."""
    trials = {row["trial_id"]: row for row in results.trial_rows}
    setting = validation_setting(results)
    finalists = []
    for row in results.comparison:
        if row.key.method != "vae" or row.key.trial_id is None:
            continue
        trial = trials.get(row.key.trial_id, {})
        validation = trial.get("val_knn_accuracy")
        test = results.scores.test_accuracy(row.key, setting)
        finalists.append(
            Finalist(
                row=row,
                trial=trial,
                validation=validation,
                test_at_validation_size=test,
                optimism=None if validation is None or test is None else validation - test,
                fresh=_fresh_seeds(results, row.key.trial_id, setting),
            )
        )
    return finalists


def validation_setting(results: Results) -> Setting | None:
    """Return the test cell with as many references as the search's validation had."""
    n_references = results.study.knn_references if results.study else None
    tested = results.scores.knn.query("protocol == 'test'")
    if n_references is None or tested.empty:
        return None
    closest = tested["samples_per_class"].iloc[(tested["n_train"] - n_references).abs().argmin()]
    return Setting(
        None if pd.isna(closest) else int(closest), ALL_IMAGES_K10.n_neighbors, ALL_IMAGES_K10.weights
    )


def fresh_seed_keys(results: Results, trial_id: str) -> list[EmbeddingKey]:
    """Return the embeddings of the models that a finalist's fresh seeds gave."""
    own = results.own_seed(trial_id)
    return [
        key
        for key in results.scores.keys
        if (key.method, key.trial_id) == ("vae", trial_id) and key.training_seed != own
    ]


def _fresh_seeds(results: Results, trial_id: str, setting: Setting | None) -> FreshSeeds | None:
    table = results.finalist_seeds[results.finalist_seeds["trial_id"] == trial_id]
    if table.empty:
        return None
    completed = table[table["status"] == "completed"]
    keys = fresh_seed_keys(results, trial_id)
    measured = completed[completed["val_knn_accuracy"].notna()]
    validation = dict(zip(measured["seed"], measured["val_knn_accuracy"], strict=True))
    optimism = [
        validation[key.training_seed] - test
        for key in keys
        if key.training_seed in validation
        and (test := results.scores.test_accuracy(key, setting)) is not None
    ]
    return FreshSeeds(
        n=len(completed),
        n_failed=len(table) - len(completed),
        objective=t_interval(completed["objective"].tolist()),
        test=_test_interval(results, keys, ALL_IMAGES_K10),
        few_shot=_test_interval(results, keys, FEW_SHOT_500),
        optimism=fmean(optimism) if optimism else None,
    )


def _test_interval(results: Results, keys: Sequence[EmbeddingKey], setting: Setting) -> Interval | None:
    tests = [results.scores.test_accuracy(key, setting) for key in keys]
    return t_interval([test for test in tests if test is not None])
