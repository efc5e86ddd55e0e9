"""KNN accuracy on the test set against the number of dimensions: the best VAE of each, PCA and UMAP."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from evaluation.analysis.comparison import ComparisonRow
from evaluation.analysis.dimensions import accuracy_by_dimension, smallest_as_good
from evaluation.analysis.results import Results
from evaluation.embedders import METHODS
from evaluation.figures.style import INK, MUTED, WINNER
from evaluation.scores.settings import ALL_IMAGES_K10

_ASIDE = {"vae": 1.0, "pca": 0.97, "umap": 1.03}
"""Factor on the dimension, so that intervals at the same one stand side by side."""


def draw_dimensions(results: Results) -> Figure:
    """Draw a line for each method, raw pixels as a level, and a ring around the smallest that suffices."""
    lines = accuracy_by_dimension(results)
    figure = Figure(figsize=(9, 5.2))
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    raw = next((row for row in results.comparison if row.key.method == "raw"), None)
    if raw is not None and raw.test is not None:
        axes.axhline(raw.test, color=MUTED, linewidth=1, linestyle=(0, (5, 3)), label="raw pixels")
    for method, rows in lines.items():
        if rows:
            _draw_line(axes, method, rows)
    dims = sorted({row.key.dim for rows in lines.values() for row in rows})
    if found := smallest_as_good(results):
        smallest = found.smallest
        beside = [r.test for rows in lines.values() for r in rows if r.key.dim == smallest.key.dim and r.test]
        draw_ring(axes, smallest, beside, is_last=smallest.key.dim == dims[-1])
    axes.set_xticks(dims, [f"{dim}" for dim in dims])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.set_xlabel("dimensions")
    axes.set_ylabel(
        f"KNN accuracy on the test set (k = {ALL_IMAGES_K10.n_neighbors}, {ALL_IMAGES_K10.weights} weights)"
    )
    figure.legend(loc="outside upper left", ncols=5, fontsize=9)
    return figure


def _draw_line(axes: Axes, method: str, rows: Sequence[ComparisonRow]) -> None:
    tests = [row.test or 0.0 for row in rows]
    bounds = [row.test_interval or (test, test) for row, test in zip(rows, tests, strict=True)]
    is_vae = method == "vae"
    axes.errorbar(
        [row.key.dim * _ASIDE[method] for row in rows],
        tests,
        yerr=[
            [test - low for test, (low, _) in zip(tests, bounds, strict=True)],
            [high - test for test, (_, high) in zip(tests, bounds, strict=True)],
        ],
        color=METHODS[method].colour,
        linewidth=2.4 if is_vae else 1.4,
        elinewidth=1.2,
        capsize=3,
        marker="o",
        markersize=6 if is_vae else 4,
        zorder=3 if is_vae else 2,
        label="VAE, best finalist of each dimension" if is_vae else METHODS[method].title,
    )


def draw_ring(axes: Axes, row: ComparisonRow, beside: Sequence[float], *, is_last: bool) -> None:
    """Draw it with the trial's name, on the side that is freer of the points ``beside`` it."""
    test = row.test or 0.0
    room_below = min((test - other for other in beside if other < test), default=1.0)
    room_above = min((other - test for other in beside if other > test), default=1.0)
    low, high = row.test_interval or (test, test)
    is_below = room_below >= room_above
    axes.plot(row.key.dim, test, "o", markersize=15, markerfacecolor="none", markeredgecolor=INK, zorder=4)
    axes.annotate(
        str(row.key.trial_id),
        xy=(row.key.dim, low if is_below else high),
        xytext=(8 if is_last else 0, -8 if is_below else 8),
        textcoords="offset points",
        ha="right" if is_last else "center",
        va="top" if is_below else "bottom",
        fontsize=9,
        fontweight="bold",
        color=WINNER,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
        zorder=5,
    )
