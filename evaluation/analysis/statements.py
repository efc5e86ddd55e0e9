"""What the report and the terminal say in a sentence: who is ahead, how optimistic validation is, labels."""

from collections.abc import Sequence
from statistics import fmean

from evaluation.analysis.finalists import Finalist
from evaluation.analysis.results import Results
from evaluation.formatting import objective_difference, points
from evaluation.scores.confidence import Interval, welch_interval
from tune.algorithms.objective import METRIC_NAMES
from tune.study.ranking import fresh_objectives


def verdict(results: Results) -> str | None:
    """Say whether the difference between the best two finalists is significant; None without a study.

    It compares the objectives of their fresh seeds alone, which are all on validation images. The difference
    of the means is significant when its 95 % interval (Welch's) does not contain 0.
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
        return f"No interval for {first} minus {second}: one of them has fewer than two fresh seeds."
    sign = 1 if results.mode == "max" else -1
    ahead = Interval(sign * difference.mean, difference.half_width)
    objective = results.objectives[0]
    by, low, high = (objective_difference(v, objective) for v in (ahead.mean, ahead.low, ahead.high))
    unit = " points" if objective == "val_knn_accuracy" else ""
    significant = ahead.low > 0
    n_first, n_second = len(values[first]), len(values[second])
    seeds = f"{n_first} fresh seeds each" if n_first == n_second else f"{n_first} and {n_second} fresh seeds"
    return (
        f"The difference between first and second place is {'' if significant else 'not '}significant: over "
        f"{seeds}, {first} is {by}{unit} of validation {METRIC_NAMES.get(objective, objective)} ahead of "
        f"{second}, 95 % interval {low} to {high}, which {'excludes' if significant else 'includes'} 0."
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


def labels_sentence(results: Results) -> str | None:
    """Name the VAEs that were trained with labels, which other methods never see; None if there are none."""
    conditional = results.evaluation and results.evaluation.trained_with_labels
    if not conditional:
        return None
    return (
        f"trained with labels (conditional): {', '.join(conditional)}; images were embedded without theirs, "
        "all other methods never saw a label"
    )
