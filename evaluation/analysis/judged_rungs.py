"""Who was judged at the rungs of ASHA and Hyperband, against which cutoff, and who was stopped."""

from dataclasses import dataclass
from itertools import product

import pandas as pd

from evaluation.analysis.results import Results
from tune.algorithms.budget import rung_cutoff, rungs_below
from tune.storage.trial_status import StopReason

SHORTER = 1e-9
"""Epochs by which a trial that ended of itself at a rung stays below it."""


@dataclass(frozen=True, slots=True)
class JudgedRung:
    """What happened at one rung, among the trials of one budget and bracket; ASHA has a single bracket."""

    epoch: float
    bracket: int
    budget: float
    """With which the trials were proposed, in epochs."""
    trials: pd.DataFrame
    """``trial_id``, ``number``, ``value``, ``stopped``, and ``asked``: the cutoff that a stopped one met.

    Without those that collapsed or diverged there, which ended whatever their value.
    """
    cutoff: float
    """What it takes to be among the best of all values, now that all who were to come have come."""

    def beats_cutoff(self, mode: str) -> pd.Series:
        """Return which trials are at least as good as the last cutoff."""
        values = self.trials["value"]
        return values <= self.cutoff if mode == "min" else values >= self.cutoff


def judged_rungs(results: Results) -> list[JudgedRung]:
    """Return the rungs where any trial was judged, by budget, bracket and epoch; none without rungs.

    A trial is judged by the objective at the rung's own epoch, against those of its budget that came before
    it. What it had to reach is on record for the stopped ones alone; the others reached it.
    """
    study, metric = results.study, results.objectives[0]
    if study is None:
        return []
    arguments = study.arguments
    if arguments.get("scheduler") not in ("asha", "hyperband") or metric not in results.epochs:
        return []
    factor = float(arguments["reduction_factor"])
    # In images, as the search counts; an older version counted epochs.
    n = study.dataset.n_train or 1
    budget_images = round(study.max_epochs * n)
    graces = rungs_below(budget_images, round(arguments["grace_period"] * n), factor)
    if arguments["scheduler"] == "asha":
        graces = graces[:1]
    trials = results.trials.assign(bracket=results.trials["number"] % len(graces))
    trials["budget"] = _budgets(trials).fillna(study.max_epochs)
    ended = trials["stop_reason"].isin([StopReason.NAN, StopReason.COLLAPSED])
    trials["last"] = trials["epochs"].where(~ended, trials["epochs"] - SHORTER)
    columns = ["trial_id", "number", "budget", "bracket", "last", "stop_reason", "rung", "cutoff"]
    values = results.epochs[["trial_id", "epoch", metric]].dropna().rename(columns={metric: "value"})
    values = values.merge(trials[columns])
    sign = -1 if results.mode == "min" else 1
    found = []
    for budget, (bracket, grace) in product(sorted(set(trials["budget"])), enumerate(graces)):
        for epoch in (images / n for images in rungs_below(budget_images, grace, factor)):
            seen = values.query("budget == @budget and bracket == @bracket and epoch == @epoch")
            here = seen.query("last >= @epoch")
            if here.empty:
                continue
            stopped = (here["stop_reason"] == StopReason.RUNG) & (here["rung"] == epoch)
            table = here[["trial_id", "number", "value"]].assign(
                stopped=stopped, asked=here["cutoff"].where(stopped)
            )
            cutoff = sign * rung_cutoff(sign * seen["value"], factor)
            found.append(JudgedRung(epoch, bracket, budget, table.sort_values("number"), cutoff))
    return found


def _budgets(trials: pd.DataFrame) -> "pd.Series[float]":
    """Return the budget that each trial was proposed with; a table of an older version knows the last one."""
    first = trials["config_schedule_epochs"].map(lambda ends: ends[0], na_action="ignore")
    return first.fillna(trials["config_max_epochs"])
