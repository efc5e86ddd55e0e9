"""What an extension changes in the plan of a finished study."""

from typing import Any

from tune.algorithms.objective import Objective
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord
from tune.storage.tables import TRIALS, read_rows, read_table
from tune.storage.trial_status import TrialStatus
from tune.study.rules import POSITIVE, whole
from vae.errors import UsageError


def plan_extension(
    run: RunDirectory,
    record: StudyRecord,
    *,
    trials: int = 0,
    max_epochs: float | None = None,
    budget: int | None = None,
    target: float | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return the fields of the plan that change; for the parameters see `tune.driver.Driver.extend`.

    Raises
    ------
    UsageError
        The study is not finished, there is nothing to add, or the new target is reached already.
    StorageError
        The tables cannot be read.
    """
    if not record.status.is_final:
        raise UsageError(
            f"{run.location} is not finished; continue it with `python -m tune resume {run.location}`"
        )
    whole(0).check("trials", trials)
    if budget is not None and max_epochs is not None:
        raise UsageError(f"give budget or max_epochs, not both; got {budget} and {max_epochs:g}")
    if max_epochs is not None:
        POSITIVE.check("max_epochs", max_epochs)
        if max_epochs < record.max_epochs:
            raise UsageError(f"max_epochs can only grow: it is {record.max_epochs:g}, got {max_epochs:g}")
    if budget is not None:
        before = record.arguments.get("budget", 0)
        whole(1).check("budget", budget)
        if budget < before:
            raise UsageError(f"budget can only grow: it is {before}, got {budget}")
    larger = {} if budget is max_epochs is None else {"budget": budget, "max_epochs": max_epochs}
    if not trials and not larger:
        raise UsageError("there is nothing to extend; give --trials, --budget or both")
    return {name: value for name, value in changes.items() if value is not None} | {
        **larger,
        "trials": n_trials(run, record) + trials,
        "target": _target(run, record, target),
    }


def n_trials(run: RunDirectory, record: StudyRecord) -> int:
    """Return how many trials a finished study has, which may be fewer than it was asked for."""
    return read_table(run.trials_file).num_rows if record.end_reason else int(record.arguments["trials"])


def _target(run: RunDirectory, record: StudyRecord, new: float | None) -> float | None:
    """Return the new target, or the study's own, which is dropped if it is reached: it would end at once."""
    old: float | None = record.arguments.get("target")
    if (wanted := old if new is None else new) is None:
        return None
    objective = Objective(record.objectives[0], "min" if record.mode == "min" else "max")
    rows = read_rows(run.trials_file, TRIALS)
    best = objective.best(row for row in rows if row["status"] == TrialStatus.COMPLETED)
    if best is None or not objective.reaches(best["objective"], wanted):
        return wanted
    if new is None:
        return None
    raise UsageError(
        f"target {new:g} is reached already: {best['trial_id']} has {objective.name} "
        f"{best['objective']:.4f}; give a better one"
    )
