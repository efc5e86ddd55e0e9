"""The ending in the terminal: the best trial, the comparison, and where the files are."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from evaluation.analysis.finalists import Finalist, finalist_rows, optimism_sentence, verdict
from evaluation.analysis.results import Comparison, Results
from evaluation.embedders import label
from evaluation.formatting import p_value, points
from evaluation.scores.confidence import Interval
from evaluation.scores.protocols import FEW_SHOT_500
from tune.algorithms.objective import METRIC_NAMES
from tune.storage.run_directory import RunDirectory


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
    if ahead := leads(results):
        winner = results.winner_row
        assert winner is not None
        console.print(f"{winner.key.trial_id} on the same test images, against", highlight=False)
        for line in ahead:
            console.print("  " + line, highlight=False)
    finalists = finalist_rows(results)
    if any(finalist.fresh for finalist in finalists):
        console.print(finalists_table(results, finalists))
    for sentence in (results.labels_sentence, verdict(results), optimism_sentence(finalists)):
        if sentence:
            console.print(sentence, highlight=False)
    if gaps := (results.evaluation or {}).get("gaps"):
        console.print("left out: " + "; ".join(gaps), style="yellow", highlight=False)
    winner = results.winner_row
    if winner is not None and winner.test is not None:
        console.print(
            f"[bold green]best[/] [bold]{winner.key.trial_id}[/]: {winner.test:.1%} KNN accuracy "
            f"on the sealed test set with {winner.key.dim} dimensions",
            highlight=False,
        )
    for name, path in (
        ("report", run.report_file),
        ("tables", run.evaluations_file),
        ("embeddings", run.embeddings_dir),
        ("figures", run.figures_dir),
    ):
        if path.exists():
            console.print(f"{name:<11}{run.location_of(path)}", highlight=False, soft_wrap=True)


def comparison_table(results: Results) -> Table:
    """Return the comparison of the embeddings, the winner in bold."""
    table = Table(
        box=box.SIMPLE_HEAD, title="KNN accuracy, 10 neighbours", title_justify="left", title_style="bold"
    )
    table.add_column("embedding")
    table.add_column("dim", justify="right")
    table.add_column("test", justify="right")
    table.add_column(f"test, {FEW_SHOT_500.samples_per_class} per class", justify="right")
    table.add_column("cross-validation", justify="right")
    for row in results.comparison:
        cv = _percent(row.cv) + (f" ± {100 * row.cv_std:.1f}" if row.cv_std is not None else "")
        table.add_row(
            label(row.key),
            str(row.key.dim),
            _over_images(row),
            _percent(row.test_few),
            cv,
            style="bold green" if row == results.winner_row else "",
        )
    return table


def structure_table(results: Results) -> Table:
    """Return what is known of embeddings without labels."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("embedding")
    for heading in ("dim", *(score.title for score in results.structure.values())):
        table.add_column(heading, justify="right")
    for row in results.comparison:
        scores = (
            f"{row.structure[name]:.3f}" if name in row.structure else "–" for name in results.structure
        )
        table.add_row(label(row.key), str(row.key.dim), *scores)
    return table


def leads(results: Results) -> list[str]:
    """Say in a line each what the winner is ahead of the other methods by, on the same test images."""
    lines = []
    for row in results.rivals:
        if (lead := results.lead(row.key)) is None:
            continue
        interval = f"[{points(lead.low)}, {points(lead.high)}]"
        p = p_value(lead.p_value)
        lines.append(
            f"{label(row.key)} {row.key.dim}-d: {points(lead.difference)} points {interval}, "
            f"p {p if p.startswith('<') else f'= {p}'}"
        )
    return lines


def finalists_table(results: Results, finalists: Sequence[Finalist]) -> Table:
    """Return what the finalists' fresh seeds give, the winner in bold."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title="finalists trained anew: mean ± half of the 95% interval over fresh seeds",
        title_justify="left",
        title_style="bold",
    )
    objective = results.objectives[0]
    table.add_column("finalist")
    table.add_column("seeds", justify="right")
    table.add_column(f"validation {METRIC_NAMES.get(objective, objective)}", justify="right")
    table.add_column("test", justify="right")
    table.add_column(f"test, {FEW_SHOT_500.samples_per_class} per class", justify="right")
    for finalist in finalists:
        if (fresh := finalist.fresh) is None:
            continue
        table.add_row(
            str(finalist.row.key.trial_id),
            f"{fresh.n}" + (f", {fresh.n_failed} failed" if fresh.n_failed else ""),
            _interval(fresh.objective, shares=objective == "val_knn_accuracy"),
            _interval(fresh.test),
            _interval(fresh.test_few),
            style="bold green" if finalist.row == results.winner_row else "",
        )
    return table


def _over_images(row: Comparison) -> str:
    if row.test_interval is None:
        return _percent(row.test)
    low, high = row.test_interval
    return f"{_percent(row.test)} ± {50 * (high - low):.1f}"


def _interval(interval: Interval | None, *, shares: bool = True) -> str:
    if interval is None:
        return "–"
    mean = _percent(interval.mean) if shares else f"{interval.mean:.4g}"
    if interval.half_width is None:
        return mean
    return f"{mean} ± " + (f"{100 * interval.half_width:.1f}" if shares else f"{interval.half_width:.2g}")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
