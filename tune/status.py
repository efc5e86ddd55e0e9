"""`python -m tune status RUN`: the trials of a study from its files, while it runs or afterwards."""

from rich.console import Console

from evaluation.run_directory import RunDirectory
from evaluation.tables import read_table
from tune.lock import is_held
from tune.objective import MODES, Objective
from tune.progress import status_counts, trial_table


def print_status(run: RunDirectory, console: Console) -> None:
    """Print the trials of a study, best first.

    Raises
    ------
    StorageError
        A file of the run directory is missing or damaged.
    """
    study = run.read_study()
    name = study["objective"][0]
    objective = Objective(name, MODES[name])
    rows = read_table(run.trials_file).to_pylist() if run.trials_file.exists() else []
    sign = 1 if objective.mode == "max" else -1
    rows.sort(key=lambda row: (row["objective"] is None, -sign * (row["objective"] or 0.0), row["number"]))
    best = objective.best(rows)
    counts = status_counts(rows)
    summary = (
        ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items())
        or "no trials yet"
    )
    state = study["status"]
    if state == "running" and not is_held(run):
        state = f"killed (`python -m tune resume {run.address}` goes on)"
    console.print(f"{study['name']}: {state}, {summary} of {study['arguments']['trials']}")
    console.print(
        trial_table(rows, objective, max_epochs=study["max_epochs"], best=best, width=console.width)
    )
