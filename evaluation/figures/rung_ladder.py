"""The rungs of ASHA and Hyperband: who was judged where, against which cutoff, and who continued."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from evaluation.analysis.judged_rungs import JudgedRung
from evaluation.analysis.results import Results
from evaluation.figures.style import CATEGORY_COLOURS, FAINT, INK, MUTED, WINNER, limits_without_outliers
from tune.algorithms.objective import METRIC_NAMES
from tune.storage.trial_status import TrialCategory

_UNLUCKY = CATEGORY_COLOURS[TrialCategory.CUT_SHORT]
_COLUMNS = 4
_DASHES = (0, (5, 3))


def draw_rung_ladder(results: Results, rungs: list[JudgedRung]) -> Figure:
    """Draw a panel for each rung, a row for each budget and bracket: the trials in order of their numbers.

    A line goes from each stopped trial to the cutoff that it missed, and across the panel lies what it takes
    now that all have come. So a trial that had bad luck stands out: stopped, though it is above that line.
    """
    groups = sorted({(rung.budget, rung.bracket) for rung in rungs})
    several_budgets, several_brackets = (len(set(part)) > 1 for part in zip(*groups, strict=True))
    rows = [[rung for rung in rungs if (rung.budget, rung.bracket) == group] for group in groups]
    if len(rows) == 1:
        rows = [rungs[start : start + _COLUMNS] for start in range(0, len(rungs), _COLUMNS)]
    n_columns = max(map(len, rows))
    figure = Figure(figsize=(max(5.5, 0.8 + 3.2 * n_columns), 0.7 + 3.3 * len(rows)))
    grid = figure.subplots(len(rows), n_columns, squeeze=False, sharey=True, sharex=True)
    limits = limits_without_outliers(pd.concat([rung.trials["value"] for rung in rungs]), results.mode)
    for panels, row in zip(grid, rows, strict=True):
        for axes, rung in zip(panels, row, strict=False):
            axes.set_ylim(limits)
            _draw_rung(axes, rung, results)
            budget = f"budget {rung.budget:.3g}, " if several_budgets else ""
            bracket = f"bracket {rung.bracket + 1}, " if several_brackets else ""
            axes.set_title(f"{budget}{bracket}epoch {rung.epoch:.3g}", pad=18)
        for unused in panels[len(row) :]:
            unused.remove()
        panels[0].set_ylabel(METRIC_NAMES.get(results.objectives[0], results.objectives[0]))
    figure.supxlabel("trial, by its number", fontsize=10)
    _explain(figure, results, rungs)
    return figure


def _draw_rung(axes: Axes, rung: JudgedRung, results: Results) -> None:
    trials, better = rung.trials, rung.beats_cutoff(results.mode)
    low, high = axes.get_ylim()
    x, y = trials["number"], trials["value"].clip(low, high)  # what is far off stands at the edge
    stopped, winner = trials["stopped"], trials["trial_id"] == results.winner
    axes.axhline(rung.cutoff, color=INK, linewidth=1, linestyle=_DASHES, zorder=1)
    for number, value, asked, unlucky in zip(
        x[stopped], y[stopped], trials["asked"][stopped], better[stopped], strict=True
    ):
        colour = _UNLUCKY if unlucky else FAINT
        axes.plot([number, number], [value, asked], color=colour, linewidth=1, zorder=2)
        axes.plot(number, asked, "_", color=colour, markersize=7, zorder=2)
    for chosen, style in (
        (stopped & ~better, _STYLES["stopped"]),
        (stopped & better, _STYLES["unlucky"]),
        (~stopped & ~winner, _STYLES["continued"]),
        (~stopped & winner, _STYLES["winner"]),
    ):
        axes.plot(x[chosen], y[chosen], linestyle="", zorder=4, **style)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    counts = f"{len(trials)} judged, {int((~stopped).sum())} continued"
    axes.text(0, 1.02, counts, transform=axes.transAxes, fontsize=8.5, color=MUTED, va="bottom")


_STYLES: dict[str, dict[str, Any]] = {
    "continued": {"marker": "o", "color": CATEGORY_COLOURS[TrialCategory.COMPLETED], "markersize": 5.5},
    "winner": {"marker": "*", "color": WINNER, "markersize": 13, "markeredgecolor": "white"},
    "stopped": {
        "marker": "o",
        "color": CATEGORY_COLOURS[TrialCategory.STOPPED],
        "markerfacecolor": "white",
        "markersize": 5,
    },
    "unlucky": {"marker": "o", "color": _UNLUCKY, "markersize": 5.5},
}


def _explain(figure: Figure, results: Results, rungs: list[JudgedRung]) -> None:
    unlucky = any((rung.trials["stopped"] & rung.beats_cutoff(results.mode)).any() for rung in rungs)
    names = {
        "winner": f"winner, {results.winner}" if results.winner else None,
        "continued": "continued",
        "stopped": "stopped, and the cutoff it missed",
        "unlucky": "stopped, but as good as the last cutoff" if unlucky else None,
    }
    handles = [
        Line2D([], [], linestyle="", label=name, **_STYLES[key]) for key, name in names.items() if name
    ]
    handles.append(
        Line2D([], [], color=INK, linewidth=1, linestyle=_DASHES, label="cutoff among all, at the end")
    )
    figure.legend(handles=handles, loc="outside upper left", ncols=2, fontsize=8.5)
