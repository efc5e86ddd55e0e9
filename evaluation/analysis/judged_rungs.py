"""Who was judged at the rungs of ASHA and Hyperband, against which cutoff, and who was stopped."""

from dataclasses import dataclass

import pandas as pd

from evaluation.analysis.results import Results
from tune.algorithms.rungs import rung_cutoff, rung_epochs


@dataclass(frozen=True, slots=True)
class JudgedRung:
    """What happened at one epoch, among the trials of one bracket; ASHA has a single one."""

    epoch: int
    bracket: int
    trials: pd.DataFrame
    """``trial_id``, ``number``, ``value``, ``stopped``, and ``asked``: the cutoff that a stopped one met."""
    cutoff: float
    """What it takes to be among the best, now that all who were to come have come."""

    def beats_cutoff(self, mode: str) -> pd.Series:
        """Return which trials are at least as good as the last cutoff."""
        values = self.trials["value"]
        return values <= self.cutoff if mode == "min" else values >= self.cutoff


def judged_rungs(results: Results) -> list[JudgedRung]:
    """Return the rungs where any trial was judged, by bracket and epoch; none if the scheduler has no rungs.

    A trial is judged by the objective at the rung's own epoch, against those that came before it. What it had
    to reach is on record for the stopped ones alone; the others reached it.
    """
    study, metric = results.study, results.objectives[0]
    if study is None:
        return []
    arguments = study.arguments
    if arguments.get("scheduler") not in ("asha", "hyperband") or metric not in results.epochs:
        return []
    factor = float(arguments["reduction_factor"])
    graces = rung_epochs(study.max_epochs, arguments["grace_period"], factor)
    if arguments["scheduler"] == "asha":
        graces = graces[:1]
    trials = results.trials.assign(bracket=results.trials["number"] % len(graces))
    # What diverged or collapsed at a rung had ended before it was judged.
    unjudged = trials["stop_reason"].isin(["nan", "collapsed"])
    trials["last"] = trials["epochs"].where(~unjudged, trials["epochs"] - 1)
    values = results.epochs[["trial_id", "epoch", metric]].dropna().rename(columns={metric: "value"})
    values = values.merge(trials[["trial_id", "number", "bracket", "last", "stop_reason", "rung", "cutoff"]])
    sign = -1 if results.mode == "min" else 1
    found = []
    for bracket, grace in enumerate(graces):
        for epoch in rung_epochs(study.max_epochs, grace, factor):
            here = values.query("bracket == @bracket and epoch == @epoch and last >= @epoch")
            if here.empty:
                continue
            stopped = (here["stop_reason"] == "rung") & (here["rung"] == epoch)
            table = here[["trial_id", "number", "value"]].assign(
                stopped=stopped, asked=here["cutoff"].where(stopped)
            )
            cutoff = sign * rung_cutoff(sign * here["value"], factor)
            found.append(JudgedRung(epoch, bracket, table.sort_values("number"), cutoff))
    return found
