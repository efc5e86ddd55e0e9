"""How many dimensions are needed: accuracy by dimension, and the smallest that is not worse than the best."""

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.analysis.comparison import ComparisonRow
from evaluation.analysis.results import Results
from evaluation.scores.confidence import CONFIDENCE, PairedDifference

METHODS = ("vae", "pca", "umap")
"""What is compared, dimension by dimension."""


@dataclass(frozen=True, slots=True)
class SmallestAsGood:
    """The finalist with the fewest dimensions that cannot be told from the best."""

    best: ComparisonRow
    smallest: ComparisonRow
    """The best itself, if every finalist with fewer dimensions is worse."""
    difference: PairedDifference | None
    """The best minus the smallest; None where they are the same."""
    n_smaller: int
    """Dimensions below the best's that were compared."""


def accuracy_by_dimension(results: Results) -> Mapping[str, list[ComparisonRow]]:
    """Return the rows with a test accuracy of each of `METHODS`, one for each dimension, small ones first.

    Of several finalists with one dimension the one that ranks first counts, so that no choice is made on the
    test images. Nothing unless finalists of two dimensions or more were scored.
    """
    found: dict[str, list[ComparisonRow]] = {}
    for method in METHODS:
        rows: dict[int, ComparisonRow] = {}
        for row in results.comparison:
            if row.key.method == method and row.test is not None:
                rows.setdefault(row.key.dim, row)  # finalists come best first
        found[method] = [rows[size] for size in sorted(rows)]
    return found if len(found["vae"]) > 1 else {}


def smallest_as_good(results: Results) -> SmallestAsGood | None:
    """Return the smallest finalist that is not significantly worse than the best on the same test images.

    The best of each dimension is compared with the best of all by McNemar's exact test, from the smallest
    dimension up, each at 5 %, until one is not significantly worse. As that order was fixed beforehand, the
    chance of passing over any that is as good is at most 5 % in all, without a correction (fixed sequence:
    Maurer, Hothorn & Lehmacher 1995).

    None without a winner, of an outdated evaluation, or unless two dimensions or more can be compared.
    """
    best = results.comparison.winner
    rows = accuracy_by_dimension(results).get("vae", [])
    if best is None or results.outdated or best.test is None:
        return None
    smaller = [row for row in rows if row.key.dim < best.key.dim]
    for row in smaller:
        difference = results.comparison.difference_to(row.key)
        if difference is None:
            return None
        if difference.p_value >= 1 - CONFIDENCE or difference.difference <= 0:
            return SmallestAsGood(best, row, difference, len(smaller))
    return SmallestAsGood(best, best, None, len(smaller)) if rows else None
