"""The objective of every trial, report by report, coloured by how the trial ended."""

from collections import Counter
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from evaluation.analysis.results import Results
from evaluation.figures.style import CATEGORY_COLOURS, WINNER, limits_without_outliers
from tune.algorithms.objective import METRIC_NAMES
from tune.storage.trial_status import TrialCategory, category, category_text

_LINES: dict[TrialCategory, dict[str, Any]] = {
    TrialCategory.COMPLETED: {"linewidth": 1.4, "alpha": 0.85, "zorder": 3},
    TrialCategory.STOPPED: {"linewidth": 0.8, "alpha": 0.55, "zorder": 2},
    TrialCategory.FAILED: {"linewidth": 1.2, "zorder": 3.5},
    TrialCategory.CUT_SHORT: {"linewidth": 1.2, "linestyle": (0, (4, 2)), "zorder": 3.2},
    TrialCategory.OPEN: {"linewidth": 1.2, "linestyle": (0, (1, 1.5)), "zorder": 3.2},
}
_ENDS: dict[TrialCategory, dict[str, Any]] = {
    TrialCategory.STOPPED: {"marker": "o", "markersize": 3.5},
    TrialCategory.FAILED: {"marker": "x", "markersize": 6.5, "markeredgewidth": 1.8},
    TrialCategory.CUT_SHORT: {"marker": "|", "markersize": 8},
    TrialCategory.OPEN: {"marker": ">", "markersize": 4},
}


WIDE = 16
"""From this ratio of the last epoch to the first on, the axis is logarithmic."""


def draw_learning_curves(results: Results) -> Figure:
    """Draw the curves; a failed trial without any value is a cross at the foot, at its last epoch.

    Quick looks, which use fewer images, are not joined to what follows: the values do not compare.
    """
    metric = results.objectives[0]
    measured = results.epochs.dropna(subset=[metric]).sort_values("epoch")
    curves = dict(tuple(measured.groupby("trial_id")))
    figure = Figure(figsize=(9, 4.6))
    axes = figure.subplots()
    axes.set_ylim(limits_without_outliers(measured[metric], results.mode))
    foot = axes.get_xaxis_transform()
    counts: Counter[str] = Counter()
    kinds: dict[str, TrialCategory] = {}
    for trial in results.trial_rows:
        kind, text, curve = category(trial), category_text(trial), curves.get(trial["trial_id"])
        if trial["trial_id"] != results.winner:
            counts[text] += 1
            kinds[text] = kind
        colour, end = CATEGORY_COLOURS[kind], _ENDS.get(kind)
        if curve is None:
            if kind is TrialCategory.FAILED:
                axes.plot(
                    max(1, trial["epochs"] or 0),
                    0.02,
                    color=colour,
                    transform=foot,
                    clip_on=False,
                    **_ENDS[kind],
                )
            continue
        x, y = curve["epoch"], curve[metric]
        looks = [part for _, part in curve.groupby(curve["quick"].eq(True)) if len(part)]
        if trial["trial_id"] == results.winner:
            for part in looks:
                for line_colour, width in (("white", 4.5), (WINNER, 3)):
                    axes.plot(part["epoch"], part[metric], color=line_colour, linewidth=width, zorder=4.5)
            best = x == trial["best_epoch"]
            axes.plot(x[best], y[best], "o", color=WINNER, markersize=7, zorder=5)
            continue
        for part in looks:
            axes.plot(part["epoch"], part[metric], color=colour, **_LINES[kind])
        if end:
            axes.plot(
                x.iloc[-1:], y.iloc[-1:], linestyle="", color=colour, zorder=_LINES[kind]["zorder"], **end
            )
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{METRIC_NAMES.get(metric, metric)} on the validation images")
    axes.margins(x=0.02)
    if not measured.empty and measured["epoch"].max() > WIDE * measured["epoch"].min():
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = []
    if results.winner is not None:
        handles.append(
            Line2D(
                [], [], color=WINNER, linewidth=3, marker="o", markersize=7, label=f"winner, {results.winner}"
            )
        )
    for text in sorted(counts, key=lambda text: (list(TrialCategory).index(kinds[text]), -counts[text])):
        kind = kinds[text]
        style = {key: value for key, value in _LINES[kind].items() if key != "zorder"} | _ENDS.get(kind, {})
        handles.append(
            Line2D([], [], color=CATEGORY_COLOURS[kind], label=f"{text} ({counts[text]})", **style)
        )
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9)
    return figure
