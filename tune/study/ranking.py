"""Which trials are the best of a study: finalists, and their order by trainings with fresh seeds."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import pandas as pd

from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord
from tune.storage.tables import CONFIG_PREFIX, FINALIST_SEEDS, TRIALS, read_frame, read_rows
from tune.storage.trial_status import TrialStatus
from tune.study.state import weights_hash
from vae.errors import UsageError

logger = logging.getLogger(__name__)

DEFAULT_FINALISTS = 3
LATENT_DIM = CONFIG_PREFIX + "latent_dim"


def full_budget_trials(trials: Iterable[Mapping[str, Any]], study: StudyRecord) -> list[Mapping[str, Any]]:
    """Return the rows of `trials` that compare: those that ran their full budget.

    As long as no trial has completed the budget that a finished study was extended to, those that had
    completed the budget before it.
    """
    rows = list(trials)
    completed = [row for row in rows if row["status"] == TrialStatus.COMPLETED]
    before = study.previous_budget
    if completed or before is None:
        return completed
    return [row for row in rows if row["status"] != TrialStatus.FAILED and (row["epochs"] or 0) >= before]


def best_first(trials: Iterable[Mapping[str, Any]], mode: str) -> list[Mapping[str, Any]]:
    """Return those rows that have an objective by it, the Pareto front of several objectives first."""
    sign = -1 if mode == "max" else 1
    known = (row for row in trials if row["objective"] is not None)
    return sorted(
        known, key=lambda row: (not row.get("pareto"), sign * row["objective"], row.get("number") or 0)
    )


def finalist_ids(
    trials: Iterable[Mapping[str, Any]], study: StudyRecord, mode: str, n: int, *, per_dim: bool = False
) -> list[str]:
    """Return the ids of the best ``n`` trials with a full budget and a checkpoint, best first.

    With ``per_dim`` the best of each latent dimension that these lack is among them too.
    """
    ranked = [row for row in best_first(full_budget_trials(trials, study), mode) if row["checkpoint"]]
    dims: set[Any] = set()
    chosen = []
    for place, row in enumerate(ranked):
        dim = row.get(LATENT_DIM)
        if place < n or (per_dim and dim not in dims):
            chosen.append(row["trial_id"])
            dims.add(dim)
    return chosen


def choose_finalists(run: RunDirectory, mode: str, n: int, *, per_dim: bool = False) -> list[str]:
    """Return the ids of the best ``n`` trials that ran their full budget, best first.

    With ``per_dim`` the best of each latent dimension that these lack is among them too. With several
    objectives those on the Pareto front come first; ``mode`` is that of the first objective, by which either
    group is ordered. `full_budget_trials` says what counts in a study that is being extended.

    Raises
    ------
    UsageError
        There is none.
    """
    if n < 1:
        raise UsageError(f"finalists must be >= 1, got {n}")
    trials = read_rows(run.trials_file, TRIALS)
    finalists = finalist_ids(trials, run.read_study(), mode, n, per_dim=per_dim)
    if not finalists:
        raise UsageError(
            f"none of the {len(trials)} trials in {run.location} ran its full budget and left a checkpoint; "
            "search on, or evaluate the baselines with --methods raw,pca,umap"
        )
    if per_dim:
        _name_missing_dims(trials, finalists)
    run.fetch(*(run.checkpoint_dir(trial_id) for trial_id in finalists))
    return finalists


def _name_missing_dims(trials: Sequence[Mapping[str, Any]], finalists: Sequence[str]) -> None:
    """Say which dimensions were tried and have no finalist: a rung compares small models with large ones."""
    dims = {row["trial_id"]: row[LATENT_DIM] for row in trials if row.get(LATENT_DIM) is not None}
    if missing := sorted(set(dims.values()) - {dims.get(trial_id) for trial_id in finalists}):
        logger.warning(
            "no finalist with %s dimensions: no such trial ran its full budget; a search with "
            "--scheduler none stops none early",
            ", ".join(map(str, missing)),
        )


def current_seeds(run: RunDirectory, max_epochs: float | None) -> pd.DataFrame:
    """Return the rows of `finalist_seeds` that belong to the present budget of a study.

    A training of another budget is left out, that of a trial which has other weights by now, and a completed
    one whose model is gone.
    """
    table = read_frame(run.finalist_seeds_file, FINALIST_SEEDS)
    kept = [
        is_of_state(run, row, max_epochs) and (row["status"] != TrialStatus.COMPLETED or has_model(run, row))
        for row in records(table)
    ]
    return table[pd.Series(kept, index=table.index, dtype=bool)]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def is_of_state(run: RunDirectory, row: Mapping[str, Any], max_epochs: float | None) -> bool:
    """Return whether a row of `finalist_seeds` is of this budget and of the weights that its trial has.

    Weights that cannot be known count: the row is of an older version, or the trial's checkpoint is not here.
    """
    if row["max_epochs"] != max_epochs:
        return False
    known, found = row["trial_weights"], weights_hash(run.checkpoint_dir(row["trial_id"]))
    return not isinstance(known, str) or found is None or known == found


def has_model(run: RunDirectory, row: Mapping[str, Any]) -> bool:
    """Return whether the model of a row of `finalist_seeds` is still there."""
    from vae.checkpoint import MODEL_FILE, is_whole  # not at the top: torch takes seconds

    if not row["checkpoint"]:
        return False
    directory = run.path / row["checkpoint"]
    return is_whole(directory) or (run.mirror is not None and run.mirror.exists(directory / MODEL_FILE))


def rank_finalists(trial_ids: Sequence[str], finalist_seeds: pd.DataFrame, mode: str) -> list[str]:
    """Return the finalists by the mean objective of their fresh seeds, best first.

    The value that made a trial a finalist is the best of many and flatters it, so that it does not compare
    with a mean of fresh seeds: unless each finalist has completed some, all keep their order, which is that
    of the search's objective. ``finalist_seeds`` are those of `current_seeds`.
    """
    values = fresh_objectives(finalist_seeds)
    if not all(trial_id in values for trial_id in trial_ids):
        return list(trial_ids)
    sign = -1 if mode == "max" else 1
    return sorted(trial_ids, key=lambda trial_id: sign * fmean(values[trial_id]))


def fresh_objectives(finalist_seeds: pd.DataFrame) -> dict[str, list[float]]:
    """Return the objectives of each finalist's completed trainings with fresh seeds."""
    completed = finalist_seeds[finalist_seeds["status"] == TrialStatus.COMPLETED]
    return {str(trial_id): group["objective"].tolist() for trial_id, group in completed.groupby("trial_id")}
