"""What the report and the terminal say in a sentence: who is ahead, by which optimism, dimensions, labels."""

from collections.abc import Sequence
from statistics import fmean

from evaluation.analysis.comparison import ComparisonRow
from evaluation.analysis.dimensions import smallest_as_good
from evaluation.analysis.finalists import Finalist
from evaluation.analysis.results import Results
from evaluation.embedders import label
from evaluation.formatting import SHARES, counted, objective_difference, p_value, points
from evaluation.scores.confidence import Interval, welch_interval
from tune.algorithms.objective import METRIC_NAMES
from tune.storage.trial_status import TrialStatus
from tune.study.ranking import fresh_objectives


def verdict(results: Results) -> str | None:
    """Say whether the difference between the best two finalists is significant.

    None without a study, and for an evaluation that is outdated.

    It compares the objectives of their fresh seeds alone, which are all on validation images. The difference
    of the means is significant when its 95 % interval (Welch's) does not contain 0.
    """
    if results.study is None or results.outdated or not results.finalists:
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
    unit = " points" if objective in SHARES else ""
    significant = ahead.low > 0
    n_first, n_second = len(values[first]), len(values[second])
    seeds = f"{n_first} fresh seeds each" if n_first == n_second else f"{n_first} and {n_second} fresh seeds"
    return (
        f"The difference between first and second place is {'' if significant else 'not '}significant: over "
        f"{seeds}, {first} is {by}{unit} of validation {METRIC_NAMES.get(objective, objective)} ahead of "
        f"{second}, 95 % interval {low} to {high}, which {'excludes' if significant else 'includes'} 0."
    )


def optimism_sentence(
    finalists: Sequence[Finalist], unselected: tuple[ComparisonRow, float] | None = None
) -> str | None:
    """Say how validation compares with test; None where it was not measured.

    ``unselected`` is what `unselected_optimism` gives, to compare with.
    """
    known = [(f.row.key.trial_id, f.optimism) for f in finalists if f.optimism is not None]
    if not known:
        return None
    each = [f"{name} {points(o.difference)} [{points(o.low)}, {points(o.high)}]" for name, o in known]
    text = "Optimism, validation minus test in points, with its 95 % interval: "
    if len(known) == 1:
        text += each[0]
    else:
        text += f"{points(fmean(o.difference for _, o in known))} on average ({', '.join(each)})"
    fresh = [f.fresh.optimism for f in finalists if f.fresh is not None and f.fresh.optimism is not None]
    text += f"; with fresh seeds {points(fmean(fresh))}." if fresh else "."
    text += " It holds the effect of selection and the difference between the two sets of images"
    if unselected is None:
        return text + "."
    row, difference = unselected
    return (
        f"{text}; for {label(row.key)} ({row.key.dim}-d), where nothing was selected, it is "
        f"{points(difference)}."
    )


def extension_sentence(results: Results) -> str | None:
    """Say which trials are compared while none has completed the budget of an extension; else None."""
    study, finalists = results.study, results.finalists
    if study is None or study.previous_budget is None or results.outdated or not finalists:
        return None
    if any(row["status"] == TrialStatus.COMPLETED for row in results.trial_rows):
        return None
    return (
        f"No trial has completed the {study.max_epochs:.3g} epochs that this study was extended to: the "
        f"finalists are the best of those that had completed the {study.previous_budget:.3g} epochs before."
    )


def dimensions_sentence(results: Results) -> str | None:
    """Name the smallest finalist that cannot be told from the best; None where no dimensions are compared."""
    found = smallest_as_good(results)
    if found is None:
        return None
    best, smallest = found.best.key, found.smallest.key
    if not found.n_smaller:
        return f"No finalist has fewer dimensions than the best, {best.trial_id} ({best.dim})."
    if found.difference is None:
        each = (
            "the smaller one is" if found.n_smaller == 1 else f"each of the {found.n_smaller} smaller ones is"
        )
        return (
            f"The smallest that cannot be told from the best is the best itself, {best.trial_id}: {each} "
            "significantly worse on the same test images."
        )
    difference = found.difference
    p = p_value(difference.p_value)
    return (
        f"The smallest that cannot be told from the best: {smallest.trial_id}, "
        f"{counted(smallest.dim, 'dimension')}. On the same test images {best.trial_id} minus it is "
        f"{points(difference.difference)} points [{points(difference.low)}, {points(difference.high)}], "
        f"p {p if p.startswith('<') else f'= {p}'}."
    )


def labels_sentence(results: Results) -> str | None:
    """Name the VAEs that were trained with labels, which other methods never see; None if there are none."""
    conditional = results.evaluation and results.evaluation.trained_with_labels
    if not conditional:
        return None
    return (
        f"trained with labels (conditional): {', '.join(conditional)}; images were embedded without theirs, "
        "all other methods never saw a label"
    )
