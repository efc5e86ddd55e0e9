"""What is known about each finalist: validation beside test, and how far fresh seeds agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from evaluation.analysis.results import Comparison, Results
from evaluation.embedders import EmbeddingKey
from evaluation.formatting import points
from evaluation.scores.confidence import Interval, t_interval, welch_interval
from evaluation.scores.protocols import ALL_IMAGES_K10, FEW_SHOT_500, Setting
from tune.algorithms.objective import METRIC_NAMES
from tune.study.ranking import fresh_objectives


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshSeeds:
    """A finalist's trainings with fresh seeds; each interval is None where nothing was measured."""

    n: int
    """Trainings that ran to their end."""
    n_failed: int
    objective: Interval | None
    """Of the objective on the validation images."""
    test: Interval | None
    test_few: Interval | None
    optimism: float | None
    """As that of the finalist, on average; nothing was selected here but the best epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """One finalist; accuracies in [0, 1]."""

    row: Comparison
    trial: dict[str, Any]
    """Its row of `trials`; empty for a bare checkpoint."""
    validation: float | None
    like: float | None
    """The test accuracy with as many references as the search's validation had."""
    optimism: float | None
    """``validation - like``: how much the choice among many trials and epochs has flattered it."""
    fresh: FreshSeeds | None
    """None if it was not trained anew."""


def finalist_rows(results: Results) -> list[Finalist]:
    """Return the evaluated finalists, best first."""
    trials = {row["trial_id"]: row for row in results.trial_rows}
    setting = validation_setting(results)
    finalists = []
    for row in results.comparison:
        if row.key.method != "vae" or row.key.trial_id is None:
            continue
        trial = trials.get(row.key.trial_id, {})
        validation, like = trial.get("val_knn_accuracy"), _test(results, row.key, setting)
        finalists.append(
            Finalist(
                row=row,
                trial=trial,
                validation=validation,
                like=like,
                optimism=None if validation is None or like is None else validation - like,
                fresh=_fresh_seeds(results, row.key.trial_id, setting),
            )
        )
    return finalists


def validation_setting(results: Results) -> Setting | None:
    """Return the test cell with as many references as the search's validation had."""
    n_references = results.study.knn_references if results.study else None
    tested = results.knn.query("protocol == 'test'")
    if n_references is None or tested.empty:
        return None
    closest = tested["samples_per_class"].iloc[(tested["n_train"] - n_references).abs().argmin()]
    return Setting(
        None if pd.isna(closest) else int(closest), ALL_IMAGES_K10.n_neighbors, ALL_IMAGES_K10.weights
    )


def verdict(results: Results) -> str | None:
    """Say in one sentence whether the first finalist is ahead of the second; None without a study.

    It is told from the fresh seeds' objectives alone, which are all on validation images: their means differ
    when Welch's 95 % interval of the difference does not contain 0.
    """
    if results.study is None or not results.finalists:
        return None
    values = fresh_objectives(results.finalist_seeds)
    if not any(len(values.get(trial_id, [])) > 1 for trial_id in results.finalists):
        each = " each" if len(results.finalists) > 1 else ""
        return f"One training run{each}: no interval; --finalist-seeds 3 gives one."
    if len(results.finalists) < 2:
        return None
    first, second = results.finalists[:2]
    difference = welch_interval(values.get(first, []), values.get(second, []))
    if difference is None:
        return f"Whether {first} leads {second} cannot be told: one of them has fewer than two fresh seeds."
    sign = 1 if results.mode == "max" else -1
    ahead = Interval(sign * difference.mean, difference.half_width)
    metric = METRIC_NAMES.get(results.objectives[0], results.objectives[0])
    in_points = results.objectives[0] == "val_knn_accuracy"
    lead, low, high = (_signed(v, in_points=in_points) for v in (ahead.mean, ahead.low, ahead.high))
    told_apart = ahead.low > 0
    n_first, n_second = len(values[first]), len(values[second])
    seeds = f"{n_first} fresh seeds each" if n_first == n_second else f"{n_first} and {n_second} fresh seeds"
    what = "Fresh seeds tell first and second place apart" if told_apart else (
        "First and second place cannot be told apart"
    )  # fmt: skip
    return (
        f"{what}: over {seeds} {first} leads {second} by "
        f"{lead}{' points' if in_points else ''} of validation {metric}, 95 % interval {low} to {high}, "
        f"which {'does not contain' if told_apart else 'contains'} 0."
    )


def optimism_sentence(finalists: Sequence[Finalist]) -> str | None:
    """Say in one sentence how validation compares with test; None where it was not measured."""
    known = [(f.row.key.trial_id, f.optimism) for f in finalists if f.optimism is not None]
    if not known:
        return None
    if len(known) == 1:
        text = f"Optimism, validation minus test: {points(known[0][1])} points for {known[0][0]}"
    else:
        mean = points(fmean(value for _, value in known))
        each = ", ".join(f"{trial_id} {points(value)}" for trial_id, value in known)
        text = f"Optimism, validation minus test: {mean} points on average ({each})"
    fresh = [f.fresh.optimism for f in finalists if f.fresh is not None and f.fresh.optimism is not None]
    return text + (f"; with fresh seeds {points(fmean(fresh))}." if fresh else ".")


def _fresh_seeds(results: Results, trial_id: str, setting: Setting | None) -> FreshSeeds | None:
    table = results.finalist_seeds[results.finalist_seeds["trial_id"] == trial_id]
    if table.empty:
        return None
    completed = table[table["status"] == "completed"]
    keys = results.replicas(trial_id)
    measured = completed[completed["val_knn_accuracy"].notna()]
    validation = dict(zip(measured["seed"], measured["val_knn_accuracy"], strict=True))
    optimism = [
        validation[key.training_seed] - like
        for key in keys
        if key.training_seed in validation and (like := _test(results, key, setting)) is not None
    ]
    return FreshSeeds(
        n=len(completed),
        n_failed=len(table) - len(completed),
        objective=t_interval(completed["objective"].tolist()),
        test=_interval(results, keys, ALL_IMAGES_K10),
        test_few=_interval(results, keys, FEW_SHOT_500),
        optimism=fmean(optimism) if optimism else None,
    )


def _interval(results: Results, keys: Sequence[EmbeddingKey], setting: Setting) -> Interval | None:
    return t_interval([value for key in keys if (value := _test(results, key, setting)) is not None])


def _test(results: Results, key: EmbeddingKey, setting: Setting | None) -> float | None:
    """Return one test accuracy; None if its scoring was lost or the data is too small for it."""
    return next(iter(results.accuracies(key, "test", setting)), None) if setting else None


def _signed(value: float, *, in_points: bool) -> str:
    return points(value) if in_points else f"{value:+.3g}".replace("-", "−")
