"""What a search added: its winner against the best starting point, and against random proposals."""

from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from evaluation.analysis.results import Results
from evaluation.formatting import SHARES, counted, objective_difference, objective_value
from evaluation.scores.confidence import Interval, t_interval, welch_interval
from tune.algorithms.objective import METRIC_NAMES
from tune.storage.trial_status import ProposedBy, StopReason, TrialStatus
from tune.study.ranking import fresh_objectives, full_budget_trials

MIN_RANDOM = 4
"""With fewer random proposals there is no median worth a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverStart:
    """The winner against the best fully trained starting point; differences are larger where it is better."""

    trial_id: str
    winner: float
    start: float
    difference: Interval
    n_fresh: int
    """Fresh seeds of the winner, whose mean ``winner`` is then; 0: both values are those of the search."""
    n_fresh_start: int
    """The same of the starting point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverRandom:
    """The winner against the random proposals, all after the same number of epochs."""

    epoch: float
    n: int
    winner: float
    median: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What is known about what a search added."""

    winner: str
    proposal: str
    over_start: OverStart | None
    over_random: OverRandom | None


def search_gain(results: Results) -> Gain | None:
    """Return what a search added; None where nobody knows who proposed its trials, or none was trained."""
    rows = {row["trial_id"]: row for row in results.trial_rows}
    winner = rows.get(results.winner or "")
    if results.study is None or results.outdated or winner is None or not winner["proposal"]:
        return None
    return Gain(
        winner=winner["trial_id"],
        proposal=winner["proposal"],
        over_start=_over_start(results, winner),
        over_random=_over_random(results, winner),
    )


def gain_sentence(results: Results) -> str | None:
    """Say in one sentence what the search added; None where there is nothing to compare with."""
    gain = search_gain(results)
    if gain is None:
        return None
    metric = results.objectives[0]
    said = []
    if gain.proposal == ProposedBy.START:
        said.append(f"nothing to its starting points, of which the winner {gain.winner} is one")
    elif gain.over_start is not None:
        said.append(_start_clause(gain.over_start, metric, gain.winner))
    if gain.over_random is not None:
        found = gain.over_random
        ahead = objective_difference(_sign(results) * (found.winner - found.median), metric)
        values = f"{objective_value(found.winner, metric)} against {objective_value(found.median, metric)}"
        it = "it" if said else f"the winner {gain.winner}"
        also = ", one of which it is" if gain.proposal == ProposedBy.RANDOM else ""
        said.append(
            f"after {counted(found.epoch, 'epoch')} {it} was {ahead}{_unit(metric)} ahead of the median of "
            f"{found.n} random proposals{also} ({values})"
        )
    if not said:
        return None
    return f"What the search added, by validation {METRIC_NAMES.get(metric, metric)}: {'; '.join(said)}."


def _start_clause(found: OverStart, metric: str, winner: str) -> str:
    ahead = objective_difference(found.difference.mean, metric)
    values = f"{objective_value(found.winner, metric)} against {objective_value(found.start, metric)}"
    text = (
        f"the winner {winner} is {ahead}{_unit(metric)} ahead of the best starting point "
        f"{found.trial_id} ({values}"
    )
    if not found.n_fresh:
        return f"{text}, one training each)"
    of_start = f"{found.n_fresh_start} of the other" if found.n_fresh_start else "its one training"
    text += f"; mean of {found.n_fresh} fresh seeds against {of_start}"
    if found.difference.half_width is None:
        return f"{text})"
    low, high = (objective_difference(v, metric) for v in (found.difference.low, found.difference.high))
    return f"{text}, 95 % interval {low} to {high})"


def _over_start(results: Results, winner: dict[str, Any]) -> OverStart | None:
    assert results.study is not None
    trained, sign = full_budget_trials(results.trial_rows, results.study), _sign(results)
    starts = [row for row in trained if row["proposal"] == ProposedBy.START and row["objective"] is not None]
    if not starts or winner["proposal"] == ProposedBy.START:
        return None
    start = max(starts, key=lambda row: sign * row["objective"])
    fresh = fresh_objectives(results.finalist_seeds)
    of_winner, of_start = fresh.get(winner["trial_id"], []), fresh.get(start["trial_id"], [])
    if len(of_winner) < 2:
        of_winner = of_start = []
    elif len(of_start) < 2:
        of_start = []
    value = fmean(of_winner) if of_winner else winner["objective"]
    other = fmean(of_start) if of_start else start["objective"]
    interval = welch_interval(of_winner, of_start) if of_start else t_interval(of_winner)
    return OverStart(
        trial_id=start["trial_id"],
        winner=value,
        start=other,
        difference=Interval(sign * (value - other), None if interval is None else interval.half_width),
        n_fresh=len(of_winner),
        n_fresh_start=len(of_start),
    )


def _over_random(results: Results, winner: dict[str, Any]) -> OverRandom | None:
    """Compare at the last epoch that all random proposals have reached.

    Those that failed or that the end of the search cut short are left out.
    """
    metric = results.objectives[0]
    if metric not in results.epochs:
        return None
    names = [row["trial_id"] for row in results.trial_rows if _was_judged(row)]
    known = results.epochs[["trial_id", "epoch", metric]].dropna()
    values = {
        str(name): dict(zip(group["epoch"], group[metric], strict=True))
        for name, group in known.groupby("trial_id")
    }
    curves = [values[name] for name in names if name in values]
    if len(curves) < MIN_RANDOM:
        return None
    epoch = min(max(curve) for curve in curves)
    there = [curve[epoch] for curve in curves if epoch in curve]
    of_winner = values.get(winner["trial_id"], {}).get(epoch)
    if of_winner is None or len(there) < MIN_RANDOM:
        return None
    return OverRandom(epoch=float(epoch), n=len(there), winner=of_winner, median=median(there))


def _was_judged(row: dict[str, Any]) -> bool:
    """Whether a trial is a random proposal whose values say how good it is."""
    ends = (None, StopReason.RUNG, StopReason.COLLAPSED)
    ended = row["status"] not in (TrialStatus.RUNNING, TrialStatus.PENDING)
    return row["proposal"] == ProposedBy.RANDOM and ended and row["stop_reason"] in ends


def _sign(results: Results) -> int:
    return 1 if results.mode == "max" else -1


def _unit(metric: str) -> str:
    return " points" if metric in SHARES else ""
