"""The objective of every trial, epoch by epoch: full-budget trials in colour, the others grey."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evaluation.figures.style import FAINT, MUTED, WINNER, class_colours
from evaluation.results import METRIC_NAMES, Results


def draw_learning_curves(results: Results) -> Figure:
    """Draw the curves; the colour of a full-budget trial is its architecture."""
    metric = results.objectives[0]
    trials = results.ranked_trials.set_index("trial_id")
    figure = Figure(figsize=(9, 4.6))
    axes = figure.subplots()
    completed = trials.index[trials["status"] == "completed"]
    architectures = sorted(trials.loc[completed, "config_architecture"].dropna().unique())
    # Not the first colour: it would look like the winner's.
    colours = dict(zip(architectures, class_colours(10)[1:], strict=False))
    named: set[str] = set()
    measured = results.epochs.dropna(subset=[metric]).sort_values("epoch")
    for trial_id, trial in trials.iterrows():
        epochs = measured[measured["trial_id"] == trial_id]
        if epochs.empty:
            continue
        x, y = epochs["epoch"], epochs[metric]
        if trial_id == results.winner:
            axes.plot(x, y, color="white", linewidth=6, zorder=4)
            axes.plot(x, y, color=WINNER, linewidth=3, zorder=5, label=f"winner, {results.winner}")
            axes.plot(x.iloc[-1:], y.iloc[-1:], "o", color=WINNER, markersize=7, zorder=5)
        elif trial["status"] == "completed":
            name = str(trial["config_architecture"])
            label = None if name in named else f"full budget, {name}"
            named.add(name)
            axes.plot(x, y, color=colours[name], linewidth=1.4, alpha=0.85, zorder=3, label=label)
        else:
            label = None if "stopped" in named else "stopped early or failed"
            named.add("stopped")
            axes.plot(x, y, color=FAINT, linewidth=1, zorder=2, label=label)
            axes.plot(x.iloc[-1:], y.iloc[-1:], "o", color=MUTED, markersize=3.5, zorder=2)
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{METRIC_NAMES.get(metric, metric)} on the validation images")
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _ignore_outliers(axes, results.epochs[metric].dropna())
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    names = sorted(handles, key=lambda name: (not name.startswith("winner"), name))
    axes.legend(
        [handles[name] for name in names], names, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9
    )
    return figure


def _ignore_outliers(axes: Axes, values: pd.Series) -> None:
    """Keep one hopeless trial from flattening all the others."""
    if len(values) < 10:
        return
    low, high = values.quantile([0.03, 1.0])
    margin = 0.06 * (high - low)
    if margin > 0 and values.min() < low - 3 * margin:
        axes.set_ylim(low - margin, high + margin)
