"""Two or more studies side by side: what they have scored, and their best VAEs on the same test images."""

from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

from rich.console import Console
from rich.table import Table

from evaluation.analysis.results import Results
from evaluation.analysis.study_comparison import Pair, pairs
from evaluation.figures.study_differences import draw_study_differences
from evaluation.figures.style import house_style
from evaluation.formatting import MISSING, p_value, percent_or_missing, points
from evaluation.report.summary import empty_table
from tune.space.display import percent
from tune.storage.run_directory import RunDirectory
from vae.atomic import replaced_file
from vae.errors import UsageError

LETTERS = ascii_uppercase
"""Short names of the studies."""
FORMATS = (".png", ".svg", ".pdf")


def compare_runs(runs: Sequence[RunDirectory], console: Console, figure: Path | None = None) -> None:
    """Print evaluated studies of the same images against the first one, and draw them if a file is named.

    Raises
    ------
    UsageError
        One is not evaluated, they are of different images, they have nothing in common with the first, or
        there are fewer than two or more than there are letters.
    StorageError
        A table is damaged, or the figure cannot be written.
    """
    if not 2 <= len(runs) <= len(LETTERS):
        raise UsageError(f"2 to {len(LETTERS)} studies can be compared, got {len(runs)}")
    if figure is not None and figure.suffix not in FORMATS:
        raise UsageError(f"the figure must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, got '{figure}'")
    results = []
    for run in runs:
        found = Results.read(run)
        if not found.scored and run.evaluations_file.exists() and not found.outdated:
            raise UsageError(
                f"{run.location} has no KNN accuracy, by which studies are compared: see its report"
            )
        if not found.scored:
            raise UsageError(f"{run.location} has no scores yet; say `python -m evaluation {run.location}`")
        results.append(found)
    images = [_fingerprint(found) for found in results]
    for run, fingerprint in zip(runs, images, strict=True):
        if fingerprint != images[0]:
            raise UsageError(
                f"{runs[0].location} and {run.location} are of different images, with fingerprints "
                f"{images[0]} and {fingerprint}, so their accuracies cannot be compared"
            )
    compared = pairs(results)
    for number, run in enumerate(runs[1:], start=1):
        if not any(pair.other == number for pair in compared):
            raise UsageError(
                f"{runs[0].location} and {run.location} have no embedding in common and no best VAE each"
            )
    for letter, run, found in zip(LETTERS, runs, results, strict=False):
        best = found.comparison.winner
        vae = f", best VAE {best.key.trial_id} with {best.key.dim} dimensions" if best else ""
        console.print(f"{letter}  {run.location}{vae}", highlight=False)
        if found.outdated:
            console.print(found.outdated, style="yellow", highlight=False)
    same = equal_in_all(compared)
    if different := [pair for pair in compared if pair.name not in same]:
        console.print(comparison_table(different))
    if same:
        console.print(
            f"the same in all: {', '.join(f'{name} {percent(test)}' for name, test in same.items())}"
        )
    if len(runs) > 2:
        console.print(multiplicity(len(runs) - 1))
    if figure is not None:
        with house_style(), replaced_file(figure) as path:
            names = [f"{letter}  {run.path.name}" for letter, run in zip(LETTERS, runs, strict=False)]
            draw_study_differences(results, compared, names).savefig(path, format=figure.suffix[1:])
        console.print(f"figure  {figure}", soft_wrap=True)


def multiplicity(n_comparisons: int) -> str:
    """Return what several comparisons with one study mean for intervals and p-values."""
    return (
        f"{n_comparisons} studies are compared with A, and of many some differ by chance: so the intervals "
        f"of an embedding hold all at once with 95 %, and p is multiplied by {n_comparisons} (Bonferroni)."
    )


def equal_in_all(compared: Sequence[Pair]) -> dict[str, float]:
    """Return the accuracy of each baseline that every study has scored alike, by name: it needs no row."""
    same: dict[str, float] = {}
    for pair in compared:
        if pair.first.test is not None and pair.first.key.trial_id is None:
            same[pair.name] = pair.first.test
    for pair in compared:
        if pair.second.test != pair.first.test or (pair.difference and pair.difference.p_value < 1):
            same.pop(pair.name, None)
    return same


def comparison_table(compared: Sequence[Pair]) -> Table:
    """Return the pairs as a table; accuracies are those of 10 neighbours among all training images."""
    headings = ("A", "other", "minus A", "95 % interval", "p")
    title = "KNN accuracy on the test set, differences in points"
    table = empty_table("embedding", "", *headings, title=title)
    for pair in compared:
        cells = [percent_or_missing(row.test) for row in (pair.first, pair.second)]
        if (difference := pair.difference) is None:
            cells += [MISSING] * 3
        else:
            cells += [
                points(difference.difference),
                f"{points(difference.low)} to {points(difference.high)}",
                p_value(difference.p_value),
            ]
        table.add_row(pair.name, LETTERS[pair.other], *cells)
    return table


def _fingerprint(results: Results) -> str:
    if results.evaluation and results.evaluation.dataset.fingerprint:
        return results.evaluation.dataset.fingerprint
    return (results.study and results.study.dataset.fingerprint) or "unknown"
