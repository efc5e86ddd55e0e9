"""Which trials are the best of a study: finalists, and their order by trainings with fresh seeds."""

from collections.abc import Sequence
from statistics import fmean

import pandas as pd

from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table
from vae.errors import UsageError

DEFAULT_FINALISTS = 3


def choose_finalists(run: RunDirectory, mode: str, n: int) -> list[str]:
    """Return the ids of the best ``n`` trials that ran their full budget, best first.

    With several objectives those on the Pareto front come first; ``mode`` is that of the first objective,
    by which either group is ordered.

    Raises
    ------
    UsageError
        There is none.
    """
    if n < 1:
        raise UsageError(f"finalists must be >= 1, got {n}")
    trials = read_table(run.trials_file).to_pylist()
    done = [
        t for t in trials if t["status"] == "completed" and t["objective"] is not None and t["checkpoint"]
    ]
    sign = -1 if mode == "max" else 1
    done.sort(key=lambda trial: (not trial.get("pareto"), sign * trial["objective"]))
    if not done:
        raise UsageError(
            f"none of the {len(trials)} trials in {run.location} ran its full budget and left a checkpoint; "
            "search on, or evaluate the baselines with --methods raw,pca,umap"
        )
    finalists = [trial["trial_id"] for trial in done[:n]]
    run.fetch(*(run.checkpoint_dir(trial_id) for trial_id in finalists))
    return finalists


def rank_finalists(trial_ids: Sequence[str], finalist_seeds: pd.DataFrame, mode: str) -> list[str]:
    """Return the finalists by the mean objective of their fresh seeds, best first.

    The value that made a trial a finalist is the best of many and flatters it. Those that have no fresh
    seeds, or only failed ones, keep their order behind the others.
    """
    values = fresh_objectives(finalist_seeds)
    sign = -1 if mode == "max" else 1
    return sorted(trial_ids, key=lambda t: (t not in values, sign * fmean(values[t]) if t in values else 0))


def fresh_objectives(finalist_seeds: pd.DataFrame) -> dict[str, list[float]]:
    """Return the objectives of each finalist's completed trainings with fresh seeds."""
    completed = finalist_seeds[finalist_seeds["status"] == "completed"]
    return {str(trial_id): group["objective"].tolist() for trial_id, group in completed.groupby("trial_id")}
