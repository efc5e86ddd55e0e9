"""Studies of the same images against the first of them: what both have scored, and the best VAE of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.analysis.comparison import ComparisonRow
from evaluation.analysis.results import Results
from evaluation.embedders import label
from evaluation.scores.confidence import PairedDifference, paired_difference

BEST_OF_EACH = {"vae": "best VAE", "ensemble": "ensemble"}
"""Method and name of what is another embedding in each study; a baseline is the same in all."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An embedding in the first study and in another one."""

    name: str
    other: int
    """Which study the second is of, from 1."""
    first: ComparisonRow
    second: ComparisonRow
    difference: PairedDifference | None
    """Second minus first on the same test images, see `pairs`; None without predictions."""


def pairs(results: Sequence[Results]) -> list[Pair]:
    """Return what each study has in common with the first, embedding by embedding.

    Of several studies the intervals of one embedding hold at once with 95 %, and its p-values are those of as
    many tests: both are Bonferroni's.
    """
    first, *others = results
    found = []
    for number, second in enumerate(others, start=1):
        rows = {row.key: row for row in second.comparison}
        both = [
            (f"{label(row.key)} {row.key.dim}-d", row, rows[row.key])
            for row in first.comparison
            if row.key.trial_id is None and row.key in rows
        ]
        for method, name in BEST_OF_EACH.items():
            row, other = (best(each, method) for each in (first, second))
            if row is not None and other is not None:
                both.append((name, row, other))
        for name, row, other in both:
            correct, other_correct = first.scores.is_correct(row.key), second.scores.is_correct(other.key)
            difference = None
            if len(correct) == len(other_correct) > 0:
                difference = paired_difference(other_correct, correct, n_comparisons=len(others))
            found.append(Pair(name, number, row, other, difference))
    names = list(dict.fromkeys(pair.name for pair in found))
    own = [name for name in BEST_OF_EACH.values() if name in names]
    order = [name for name in names if name not in own] + own
    return sorted(found, key=lambda pair: order.index(pair.name))


def best(results: Results, method: str) -> ComparisonRow | None:
    """Return the row of a study's best VAE, or of its ensemble; None without one."""
    if method == "vae":
        return results.comparison.winner
    return next((row for row in results.comparison if row.key.method == method), None)
