"""Two studies side by side: what both have scored, and their best VAEs on the same test images."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from evaluation.analysis.comparison import ComparisonRow
from evaluation.analysis.results import Results
from evaluation.embedders import label
from evaluation.formatting import MISSING, p_value, percent_or_missing, points
from evaluation.report.summary import empty_table
from evaluation.scores.confidence import PairedDifference, paired_difference
from tune.storage.run_directory import RunDirectory
from vae.errors import UsageError


@dataclass(frozen=True, slots=True)
class Pair:
    """The same embedding in both studies; ``difference``: second minus first, None without predictions."""

    name: str
    first: ComparisonRow
    second: ComparisonRow
    difference: PairedDifference | None


def compare_runs(first: RunDirectory, second: RunDirectory, console: Console) -> None:
    """Print two evaluated studies of the same images side by side.

    Raises
    ------
    UsageError
        One is not evaluated, they are of different images, or they have nothing in common.
    StorageError
        A table is damaged.
    """
    results = []
    for run in (first, second):
        found = Results.read(run)
        if not found.scored:
            raise UsageError(f"{run.location} has no scores yet; say `python -m evaluation {run.location}`")
        results.append(found)
    images = [_fingerprint(found) for found in results]
    if images[0] != images[1]:
        raise UsageError(
            f"{first.location} and {second.location} are of different images, with fingerprints {images[0]} "
            f"and {images[1]}, so their accuracies cannot be compared"
        )
    both = pairs(*results)
    if not both:
        raise UsageError(
            f"{first.location} and {second.location} have no embedding in common and no best VAE each"
        )
    for letter, found in zip("AB", results, strict=True):
        best = found.comparison.winner
        vae = f", best VAE {best.key.trial_id} with {best.key.dim} dimensions" if best else ""
        console.print(f"{letter}  {found.name}{vae}", highlight=False)
        if found.outdated:
            console.print(found.outdated, style="yellow", highlight=False)
    console.print(comparison_table(both))


def pairs(first: Results, second: Results) -> list[Pair]:
    """Return what both studies have: the baselines that are the same in both, then the best VAE of each."""
    others = {row.key: row for row in second.comparison}
    found = [
        _pair(f"{label(row.key)} {row.key.dim}-d", first, second, row, others[row.key])
        for row in first.comparison
        if row.key.trial_id is None and row.key in others
    ]
    for method, name in (("vae", "best VAE"), ("ensemble", "ensemble")):
        rows = [_best(results, method) for results in (first, second)]
        if rows[0] is not None and rows[1] is not None:
            found.append(_pair(name, first, second, rows[0], rows[1]))
    return found


def comparison_table(both: list[Pair]) -> Table:
    """Return the pairs as a table; accuracies are those of 10 neighbours among all training images."""
    headings = ("A", "B", "B − A, points", "95 % interval", "p")
    table = empty_table("embedding", *headings, title="KNN accuracy on the test set")
    for pair in both:
        cells = [percent_or_missing(row.test) for row in (pair.first, pair.second)]
        if (difference := pair.difference) is None:
            cells += [MISSING] * 3
        else:
            cells += [
                points(difference.difference),
                f"{points(difference.low)} to {points(difference.high)}",
                p_value(difference.p_value),
            ]
        table.add_row(pair.name, *cells)
    return table


def _pair(name: str, first: Results, second: Results, row: ComparisonRow, other: ComparisonRow) -> Pair:
    correct, other_correct = first.scores.is_correct(row.key), second.scores.is_correct(other.key)
    known = len(correct) == len(other_correct) > 0
    return Pair(name, row, other, paired_difference(other_correct, correct) if known else None)


def _best(results: Results, method: str) -> ComparisonRow | None:
    if method == "vae":
        return results.comparison.winner
    return next((row for row in results.comparison if row.key.method == method), None)


def _fingerprint(results: Results) -> str:
    if results.evaluation and results.evaluation.dataset.fingerprint:
        return results.evaluation.dataset.fingerprint
    return (results.study and results.study.dataset.fingerprint) or "unknown"
