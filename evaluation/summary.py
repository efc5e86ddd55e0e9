"""The ending in the terminal: the best trial, the comparison, and where the files are."""

from rich import box
from rich.console import Console
from rich.table import Table

from evaluation.report import label
from evaluation.results import FEW, Results
from evaluation.run_directory import RunDirectory


def print_summary(run: RunDirectory, console: Console) -> None:
    """Print what a run directory holds.

    Raises
    ------
    StorageError
        A table is damaged.
    """
    results = Results.read(run)
    if results.comparison:
        console.print(comparison_table(results))
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
            console.print(f"{name:<11}{path}", highlight=False, soft_wrap=True)


def comparison_table(results: Results) -> Table:
    """Return the comparison of the embeddings, the winner in bold."""
    table = Table(
        box=box.SIMPLE_HEAD, title="KNN accuracy, 10 neighbours", title_justify="left", title_style="bold"
    )
    table.add_column("embedding")
    table.add_column("dim", justify="right")
    table.add_column("test", justify="right")
    table.add_column(f"test, {FEW.samples_per_class} per class", justify="right")
    table.add_column("cross-validation", justify="right")
    for row in results.comparison:
        cv = _percent(row.cv) + (f" ± {100 * row.cv_std:.1f}" if row.cv_std is not None else "")
        table.add_row(
            label(row.key),
            str(row.key.dim),
            _percent(row.test),
            _percent(row.test_few),
            cv,
            style="bold green" if row == results.winner_row else "",
        )
    return table


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
