"""The first objective against the second, one dot per trial: the Pareto front in colour, with its names."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from evaluation.analysis.results import Results
from evaluation.figures.style import FAINT, INK, MUTED, WINNER
from tune.algorithms.objective import METRIC_NAMES, SIZES

_BETTER = {"max": "higher is better", "min": "lower is better"}
_FONT_POINTS = 8.5
_DOT_POINTS = 8


def draw_pareto(results: Results) -> Figure:
    """Draw every trial that has both values; one that was stopped is judged by its best epoch."""
    x, y = results.objectives[:2]
    values = results.objective_values
    completed = values["status"] == "completed"
    front = values[completed & values["pareto"]].sort_values([x, y])
    others = values[completed & ~values["pareto"]]
    stopped = values[~completed]

    figure = Figure(figsize=(9, 5.4))
    axes = figure.subplots()
    for part, colour, size, name in (
        (stopped, FAINT, 4, "stopped early or failed"),
        (others, MUTED, 6, "completed"),
    ):
        if len(part):
            axes.plot(part[x], part[y], "o", color=colour, markersize=size, label=name)
    axes.plot(
        front[x],
        front[y],
        linestyle="-" if len(results.objectives) == 2 else "",  # in more dimensions the front is no line
        marker="o",
        color=WINNER,
        markersize=_DOT_POINTS,
        markeredgecolor="white",
        linewidth=1.6,
        zorder=4,
        label="Pareto front",
    )
    labels = [
        METRIC_NAMES.get(name, name)
        + ("" if name in SIZES else " on the validation images")
        + f" ({_BETTER[mode]})"
        for name, mode in zip((x, y), results.modes, strict=False)
    ]
    axes.set(xlabel=labels[0], ylabel=labels[1])
    _look_at(axes, values.loc[completed, [x, y]].to_numpy(), log_y=y in SIZES)
    if y in SIZES:
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        if y == "latent_dim":
            axes.set_yticks(sorted(values.loc[completed, y].unique()), minor=False)
        axes.minorticks_off()
    figure.legend(loc="outside upper left", ncols=3, fontsize=9)
    label_points(
        axes,
        front[[x, y]].to_numpy(),
        front["trial_id"].tolist(),
        avoid=others[[x, y]].to_numpy(),
        bold=results.winner,
    )
    return figure


def label_points(
    axes: Axes,
    points: NDArray[np.float64],
    names: Sequence[str],
    *,
    avoid: NDArray[np.float64],
    bold: str | None = None,
) -> None:
    """Write a name beside each point, with a thin line to it, clear of points, names and the points' line.

    The limits of the axes must be final. ``points`` (n, 2) are in data coordinates, in the order in which a
    line joins them, ``avoid`` (m, 2) are others that are not to be covered.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # finishes the layout, which the pixels depend on
    pixel = figure.dpi / 72  # pixels per point
    frame = axes.get_window_extent()
    dots = axes.transData.transform(np.vstack([points, avoid]))
    taken = [_box(dot, 5 * pixel) for dot in dots]
    line = [_box(dot, pixel) for dot in _between(dots[: len(points)])]
    for dot, point, name in zip(dots, points, names, strict=False):
        width, height = (
            (0.66 if name == bold else 0.58) * _FONT_POINTS * len(name) * pixel,
            1.3 * _FONT_POINTS * pixel,
        )
        places = [
            Bbox.from_bounds(
                dot[0] + dx * pixel - (width if dx < 0 else 0),
                dot[1] + dy * pixel - height / 2,
                width,
                height,
            )
            for dx, dy in _offsets()
        ]
        inside = [place for place in places if frame.contains(*place.min) and frame.contains(*place.max)]
        box = min(
            inside or places, key=lambda place: (place.count_overlaps(taken), place.count_overlaps(line))
        )
        taken.append(box)
        left = bool(box.x0 >= dot[0])
        axes.annotate(
            name,
            xy=(point[0], point[1]),
            # In points: an SVG has other pixels than those that were measured.
            xytext=(
                ((box.x0 if left else box.x1) - dot[0]) / pixel,
                ((box.y0 + box.y1) / 2 - dot[1]) / pixel,
            ),
            textcoords="offset points",
            ha="left" if left else "right",
            va="center",
            fontsize=_FONT_POINTS,
            color=WINNER if name == bold else INK,
            fontweight="bold" if name == bold else "normal",
            arrowprops={
                "arrowstyle": "-",
                "color": MUTED,
                "lw": 0.6,
                "shrinkA": 1,
                "shrinkB": 3,
                "relpos": (0 if left else 1, 0.5),
            },
            zorder=5,
        )


def _box(dot: NDArray[np.float64], radius: float) -> Bbox:
    return Bbox.from_extents(*(dot - radius), *(dot + radius))


def _between(dots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 50 points on each stretch of the line through the dots."""
    share = np.linspace(0, 1, 50)[:, None]
    stretches = [start + share * (end - start) for start, end in pairwise(dots)]
    return np.concatenate(stretches) if stretches else np.empty((0, 2))


def _offsets() -> Iterator[tuple[float, float]]:
    """Yield where a name may stand, in points from its dot, the closest places first."""
    for distance in range(0, 120, 8):
        for side in (9 + distance / 3, -9 - distance / 3):
            for up in dict.fromkeys((distance, -distance)):
                yield side, float(up)


def _look_at(axes: Axes, points: NDArray[np.float64], *, log_y: bool = False) -> None:
    """Set the limits by these points; a hopeless stopped trial would push the front into a corner."""
    points = points.astype(float)
    if log_y:
        points[:, 1] = np.log(points[:, 1])
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.maximum(0.12 * (high - low), 1e-3 * np.abs(high) + 1e-9)
    limits = np.stack([low - margin, high + margin])
    if log_y:
        axes.set_yscale("log")
        limits[:, 1] = np.exp(limits[:, 1])
    axes.set(xlim=limits[:, 0], ylim=limits[:, 1])
