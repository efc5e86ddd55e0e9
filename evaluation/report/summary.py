"""The summary at the end of a command: the comparison, the best trial, and where the files are."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.analysis.finalists import Finalist, finalist_rows, unselected_optimism
from evaluation.analysis.gain import gain_sentence
from evaluation.analysis.results import Results
from evaluation.analysis.statements import (
    dimensions_sentence,
    extension_sentence,
    labels_sentence,
    optimism_sentence,
    verdict,
)
from evaluation.embedders import label
from evaluation.formatting import (
    MISSING,
    interval,
    mean_and_spread,
    p_value,
    percent_or_missing,
    points,
    share_and_interval,
)
from evaluation.scores.settings import FEW_SHOT_500
from tune.algorithms.objective import METRIC_NAMES
from tune.space.display import percent
from tune.storage.run_directory import RunDirectory

_FEW_SHOT = f"test, {FEW_SHOT_500.samples_per_class} per class"


def print_summary(run: RunDirectory, console: Console) -> None:
    """Print what a run directory holds.

    Raises
    ------
    StorageError
        A table is damaged.
    """
    results = Results.read(run)
    if results.scored:
        console.print(comparison_table(results))
    elif results.comparison:
        console.print(structure_table(results))
    winner = results.comparison.winner
    if winner is not None and (differences := difference_lines(results)):
        console.print(f"{winner.key.trial_id} on the same test images, minus", highlight=False)
        for line in differences:
            console.print("  " + line, highlight=False)
    finalists = finalist_rows(results)
    if any(finalist.fresh for finalist in finalists):
        console.print(finalists_table(results, finalists))
    for sentence in (
        labels_sentence(results),
        extension_sentence(results),
        verdict(results),
        gain_sentence(results),
        dimensions_sentence(results),
        optimism_sentence(finalists, unselected_optimism(results)),
    ):
        if sentence:
            console.print(sentence, highlight=False)
    if results.outdated:
        console.print(results.outdated, style="yellow", highlight=False)
    if gaps := results.evaluation and results.evaluation.gaps:
        console.print("missing: " + "; ".join(gaps), style="yellow", highlight=False)
    if winner is not None and winner.test is not None:
        score = f": {percent(winner.test)} KNN accuracy on the held-out test set with "
        console.print(
            Text.assemble(
                ("best", "bold green"),
                " ",
                (str(winner.key.trial_id), "bold"),
                f"{score}{winner.key.dim} dimensions",
            )
        )
    for name, path in (
        ("report", run.report_file),
        ("tables", run.evaluations_file),
        ("embeddings", run.embeddings_dir),
        ("figures", run.figures_dir),
    ):
        if path.exists():
            console.print(f"{name:<11}{run.location_of(path)}", highlight=False, soft_wrap=True)


def empty_table(first: str, *others: str, title: str | None = None) -> Table:
    """Return a table with these headings and no rows; all columns but the first are for numbers."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right")
    return table


def comparison_table(results: Results) -> Table:
    """Return the comparison of the embeddings, the winner in bold."""
    headings = ("dim", "test", _FEW_SHOT, "cross-validation")
    table = empty_table("embedding", *headings, title="KNN accuracy, 10 neighbours")
    for row in results.comparison:
        table.add_row(
            label(row.key),
            str(row.key.dim),
            share_and_interval(row.test, row.test_interval),
            percent_or_missing(row.few_shot),
            mean_and_spread(row.cv, row.cv_std),
            style="bold green" if row == results.comparison.winner else "",
        )
    return table


def structure_table(results: Results) -> Table:
    """Return the structure scores, which embeddings of images without labels have too."""
    headings = (score.title for score in results.comparison.structure.values())
    table = empty_table("embedding", "dim", *headings)
    for row in results.comparison:
        scores = (
            f"{row.structure[name]:.3f}" if name in row.structure else MISSING
            for name in results.comparison.structure
        )
        table.add_row(label(row.key), str(row.key.dim), *scores)
    return table


def difference_lines(results: Results) -> list[str]:
    """Return a line for each baseline: the winner's accuracy minus its own, on the same test images."""
    lines = []
    for row in results.comparison.baselines:
        if (found := results.comparison.difference_to(row.key)) is None:
            continue
        p = p_value(found.p_value)
        lines.append(
            f"{label(row.key)} {row.key.dim}-d: {points(found.difference)} points "
            f"[{points(found.low)}, {points(found.high)}], "
            f"p {p if p.startswith('<') else f'= {p}'}"
        )
    return lines


def finalists_table(results: Results, finalists: Sequence[Finalist]) -> Table:
    """Return the scores of the finalists retrained with fresh seeds, the winner in bold."""
    objective = results.objectives[0]
    headings = ("seeds", f"validation {METRIC_NAMES.get(objective, objective)}", "test", _FEW_SHOT)
    title = "finalists retrained with fresh seeds: mean and its 95 % interval over trainings"
    table = empty_table("finalist", *headings, title=title)
    for finalist in finalists:
        if (fresh := finalist.fresh) is None:
            continue
        table.add_row(
            str(finalist.row.key.trial_id),
            f"{fresh.n}" + (f", {fresh.n_failed} failed" if fresh.n_failed else ""),
            interval(fresh.objective, objective),
            interval(fresh.test),
            interval(fresh.few_shot),
            style="bold green" if finalist.row == results.comparison.winner else "",
        )
    return table
