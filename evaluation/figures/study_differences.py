"""Studies against the first: their accuracy on the test set, and the difference on the same images."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from evaluation.analysis.results import Results
from evaluation.analysis.study_comparison import BEST_OF_EACH, Pair, best
from evaluation.embedders import METHODS
from evaluation.figures.style import MUTED, shown_name

_ROW_INCHES = 0.55
_APART = 0.16
"""How far the rows of a study's best VAE and of its ensemble are from the middle of its place."""


def draw_study_differences(
    results: Sequence[Results], compared: Sequence[Pair], names: Sequence[str]
) -> Figure:
    """Draw a row for each study, of its best VAE and its ensemble; baselines are the same in all."""
    figure = Figure(figsize=(10, 1.6 + _ROW_INCHES * len(results)))
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [1, 1]})
    methods = [m for m in BEST_OF_EACH if any(best(found, m) is not None for found in results)]
    handles = {}
    for place, method in enumerate(methods):
        shift = _APART * (2 * place - 1) if len(methods) > 1 else 0.0
        style = dict(color=METHODS[method].colour, fmt="o", markersize=6, capsize=3, elinewidth=1.5)
        for number, found in enumerate(results):
            row = best(found, method)
            if row is not None and row.test is not None and row.test_interval is not None:
                low, high = row.test_interval
                x, errors = 100 * row.test, [[100 * (row.test - low)], [100 * (high - row.test)]]
                handles[method] = left.errorbar([x], [number + shift], xerr=errors, **style)
        for pair in compared:
            if pair.name == BEST_OF_EACH[method] and (found_difference := pair.difference) is not None:
                x, low, high = (
                    100 * value
                    for value in (found_difference.difference, found_difference.low, found_difference.high)
                )
                right.errorbar([x], [pair.other + shift], xerr=[[x - low], [high - x]], **style)
    right.axvline(0, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
    left.set_yticks(range(len(results)), [shown_name(name) for name in names])
    left.set_ylim(len(results) - 0.5, -0.5)
    left.set_title("KNN accuracy on the test set")
    left.set_xlabel("% of the test images\nwith 95 % interval")
    right.set_title(f"Difference to {shown_name(names[0])}")
    n = len(results) - 1
    interval = "with 95 % interval" if n == 1 else f"with {n} intervals that hold at once with 95 %"
    right.set_xlabel(f"points on the same images\n{interval}")
    for axes in (left, right):
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    if len(handles) > 1:
        figure.legend(
            handles.values(), [BEST_OF_EACH[m] for m in handles], loc="outside upper right", ncols=2
        )
    return figure
