"""What is known about each finalist: validation beside test, and retrainings with fresh seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from evaluation.analysis.comparison import ComparisonRow
from evaluation.analysis.results import Results
from evaluation.embedders import EmbeddingKey
from evaluation.scores.as_searched import VALIDATION
from evaluation.scores.confidence import Difference, Interval, share_difference, t_interval
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
    """Validation minus test of these trainings, on average; only the best epoch of each was selected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """One finalist; accuracies in [0, 1]."""

    row: ComparisonRow
    trial: dict[str, Any]
    """Its row of `trials`; empty for a bare checkpoint."""
    validation: float | None
    test_as_searched: float | None
    """The test accuracy with the search's own references and number of neighbours."""
    optimism: Difference | None
    """``validation - test_as_searched``: how much selection has inflated it, and how the images differ."""
    fresh: FreshSeeds | None
    """None if it was not trained again."""


def finalist_rows(results: Results) -> list[Finalist]:
    """Return the evaluated finalists, best first; none of an evaluation that is outdated."""
    if results.outdated:
        return []
    trials = {row["trial_id"]: row for row in results.trial_rows}
    finalists = []
    for row in results.comparison:
        if row.key.method != "vae" or row.key.trial_id is None:
            continue
        trial = trials.get(row.key.trial_id, {})
        validation = trial.get("val_knn_accuracy")
        test = results.scores.as_searched(row.key, "test")
        finalists.append(
            Finalist(
                row=row,
                trial=trial,
                validation=validation,
                test_as_searched=test and test[0],
                optimism=_optimism(results, row.key, validation),
                fresh=_fresh_seeds(results, row.key.trial_id),
            )
        )
    return finalists


def unselected_optimism(results: Results) -> tuple[ComparisonRow, float] | None:
    """Return PCA at the winner's dimension or close to it, and validation minus test there.

    Nothing was selected for it, so this is what the images differ by. None if it was not measured.
    """
    row = results.comparison.closest("pca")
    if row is None:
        return None
    validation, test = (results.scores.as_searched(row.key, protocol) for protocol in (VALIDATION, "test"))
    return None if validation is None or test is None else (row, validation[0] - test[0])


def _optimism(results: Results, key: EmbeddingKey, validation: float | None) -> Difference | None:
    test, images = (results.scores.as_searched(key, protocol) for protocol in ("test", VALIDATION))
    if validation is None or test is None or images is None:
        return None
    return share_difference(validation, images[1], *test)


def fresh_seed_keys(results: Results, trial_id: str) -> list[EmbeddingKey]:
    """Return the embeddings of the models that a finalist's fresh seeds gave."""
    own = results.own_seed(trial_id)
    return [
        key
        for key in results.scores.keys
        if (key.method, key.trial_id) == ("vae", trial_id) and key.training_seed != own
    ]


def _fresh_seeds(results: Results, trial_id: str) -> FreshSeeds | None:
    table = results.finalist_seeds[results.finalist_seeds["trial_id"] == trial_id]
    if table.empty:
        return None
    completed = table[table["status"] == "completed"]
    keys = fresh_seed_keys(results, trial_id)
    measured = completed[completed["val_knn_accuracy"].notna()]
    validation = dict(zip(measured["seed"], measured["val_knn_accuracy"], strict=True))
    optimism = [
        validation[key.training_seed] - test[0]
        for key in keys
        if key.training_seed in validation and (test := results.scores.as_searched(key, "test")) is not None
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
