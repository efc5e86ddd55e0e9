"""Every trial as one line over the hyperparameters that were searched, up to its objective."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator

from evaluation.analysis.results import Results
from evaluation.analysis.searched_params import SearchedParam, searched_params
from evaluation.figures.style import CATEGORY_COLOURS, INK, MUTED, WINNER, limits_without_outliers
from tune.algorithms.objective import METRIC_NAMES
from tune.space.display import param_name, value_text
from tune.storage.trial_status import TrialCategory, category

Place = float | None
"""Along an axis, from 0 to 1; None: the line does not reach it."""

_UNUSED = 0.1  # of an axis, at its low end, for trials that do without the hyperparameter
_BAND = 0.6  # of the room of a choice that its lines may take
_LINE_GAP = 0.012  # of an axis, between the lines of one choice


@dataclass(frozen=True, slots=True)
class Axis:
    """One upright line: a hyperparameter, or the objective."""

    name: str
    ticks: list[tuple[float, str]]
    """Place and text."""
    places: list[Place]
    """Of each trial, in the order of `Results.trial_rows`."""


@dataclass(frozen=True, slots=True)
class ParallelCoordinates:
    """The hyperparameters in the space's order, and the objective."""

    names: list[str]
    """Of the hyperparameters."""
    params: list[Axis]
    objective: Axis

    @property
    def axes(self) -> list[Axis]:
        """All of them, the objective last."""
        return [*self.params, self.objective]


def parallel_coordinates(results: Results) -> ParallelCoordinates | None:
    """Return what there is to draw; None if no hyperparameter varies, or no trial has a value."""
    objectives = [row["objective"] for row in results.trial_rows]
    known = [value for value in objectives if value is not None]
    params = searched_params(results)
    if not known or not params:
        return None
    low, high = limits_without_outliers(known, results.mode)
    sign = -1 if results.mode == "min" else 1
    # Better is up.
    bottom, top = (low, high) if sign > 0 else (high, low)
    share = lambda value: float(np.clip((value - bottom) / (top - bottom or 1), 0, 1))  # noqa: E731
    metric = results.objectives[0]
    objective = Axis(
        METRIC_NAMES.get(metric, metric),
        [
            (share(tick), f"{tick:.4g}")
            for tick in MaxNLocator(6).tick_values(low, high)
            if low <= tick <= high
        ],
        [None if value is None else share(value) for value in objectives],
    )
    return ParallelCoordinates([param.name for param in params], [*map(_param_axis, params)], objective)


def _param_axis(param: SearchedParam) -> Axis:
    start = _UNUSED if None in param.values else 0.0
    if (choices := param.choices) is None:
        ticks, places = _range(param)
    else:
        centres = [(row + 0.5) / len(choices) for row in range(len(choices))]
        ticks = [(centre, value_text(choice)) for centre, choice in zip(centres, choices, strict=True)]
        places = _spread(param.values, dict(zip(choices, centres, strict=True)), _BAND / len(choices))
    raised = [None if place is None else start + (1 - start) * place for place in places]
    ticks = [(start + (1 - start) * place, text) for place, text in ticks]
    if None in param.values:
        unused = _spread([value is None for value in param.values], {True: 0.02}, 0.04)
        raised = [low if place is None else place for place, low in zip(raised, unused, strict=True)]
        ticks.insert(0, (0.02, value_text(None)))
    return Axis(param_name(param.name), ticks, raised)


def _range(param: SearchedParam) -> tuple[list[tuple[float, str]], list[Place]]:
    low, high = param.limits
    locator = LogLocator(subs=(1, 2, 5)) if param.log else MaxNLocator(5)
    marks = [float(mark) for mark in locator.tick_values(low, high) if low * 0.999 <= mark <= high * 1.001]
    if param.log:
        low, high = np.log([low, high])

    def share(value: Any) -> float:
        return float(((np.log(value) if param.log else value) - low) / (high - low))

    return [(share(mark), f"{mark:g}") for mark in marks], [
        None if value is None else share(value) for value in param.values
    ]


def _spread(values: Sequence[Any], centres: dict[Any, float], room: float) -> list[Place]:
    """Return a place for each value near the centre of its kind, the first uppermost, none on another."""
    places: list[Place] = [None] * len(values)
    for kind, centre in centres.items():
        rows = [row for row, value in enumerate(values) if value is not None and value == kind]
        gap = min(_LINE_GAP, room / max(1, len(rows) - 1))
        for order, row in enumerate(rows):
            places[row] = centre + gap * ((len(rows) - 1) / 2 - order)
    return places


def ramp(*, dark: bool = False) -> LinearSegmentedColormap:
    """Return the colours of objectives, worst to best: the best stand out, and none is like the winner's."""
    shares = np.linspace(0.95, 0.2, 9) if dark else np.linspace(0.3, 1.0, 9)
    colours = [to_hex(colour) for colour in mpl.colormaps["YlGn"](shares)]
    return LinearSegmentedColormap.from_list("objective", colours)


def draw_parallel_coordinates(results: Results, view: ParallelCoordinates) -> Figure:
    """Draw them: full budgets in the colour of their objective, the others faint, the winner on top."""
    figure = Figure(figsize=(max(6.5, 1.25 * len(view.axes) + 0.6), 4.8))
    plot = figure.subplots()
    colours = ramp()
    for row in reversed(range(len(results.trial_rows))):  # the best are drawn last
        trial = results.trial_rows[row]
        points = [(x, axis.places[row]) for x, axis in enumerate(view.axes)]
        xs, ys = zip(*((x, y) for x, y in points if y is not None), strict=True)
        place, kind = view.objective.places[row], category(trial)
        if trial["trial_id"] == results.winner:
            halo = [withStroke(linewidth=6, foreground="white")]
            plot.plot(xs, ys, color=WINNER, linewidth=3, zorder=5, path_effects=halo, solid_joinstyle="round")
            plot.plot(xs, ys, "o", color=WINNER, markersize=5, zorder=6)
        elif kind is TrialCategory.COMPLETED and place is not None:
            plot.plot(xs, ys, color=colours(place), linewidth=1.5, alpha=0.9, zorder=4)
        elif kind is TrialCategory.FAILED:
            dashes = (0, (3, 2))
            plot.plot(
                xs, ys, color=CATEGORY_COLOURS[kind], linewidth=0.9, alpha=0.6, zorder=3, linestyle=dashes
            )
        else:
            colour = MUTED if place is None else colours(place)
            plot.plot(xs, ys, color=colour, linewidth=0.8, alpha=0.35, zorder=2)
    for x, axis in enumerate(view.axes):
        plot.plot([x, x], [0, 1], color=INK, linewidth=1, zorder=7)
        for place, text in axis.ticks:
            plot.plot([x - 0.02, x], [place, place], color=INK, linewidth=1, zorder=7)
            plot.text(
                x - 0.04, place, text, ha="right", va="center", fontsize=7.5, zorder=8,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )  # fmt: skip
        plot.text(x, 1.04, axis.name, ha="center", va="bottom", fontsize=9, fontweight="bold")
    _colour_scale(plot, view, colours)
    plot.set(xlim=(-0.6, len(view.axes) - 0.75), ylim=(-0.02, 1.02), xticks=[], yticks=[])
    plot.grid(visible=False)
    plot.spines[:].set_visible(False)
    _explain(figure, results, colours)
    return figure


def _colour_scale(plot: Any, view: ParallelCoordinates, colours: LinearSegmentedColormap) -> None:
    x = len(view.params)
    for step in range(40):
        ends = [step / 40, (step + 1) / 40]
        plot.fill_betweenx(ends, x + 0.02, x + 0.08, color=colours((step + 0.5) / 40), linewidth=0)


def _explain(figure: Figure, results: Results, colours: LinearSegmentedColormap) -> None:
    present = {category(row) for row in results.trial_rows}
    best = colours(0.8)
    handles = [Line2D([], [], color=best, linewidth=1.5, label="completed")]
    if present & {TrialCategory.STOPPED, TrialCategory.CUT_SHORT, TrialCategory.OPEN}:
        handles.append(Line2D([], [], color=best, linewidth=0.8, alpha=0.35, label="stopped early"))
    if TrialCategory.FAILED in present:
        red = CATEGORY_COLOURS[TrialCategory.FAILED]
        handles.append(Line2D([], [], color=red, linewidth=0.9, linestyle=(0, (3, 2)), label="failed"))
    if results.winner is not None:
        handles.insert(
            0, Line2D([], [], color=WINNER, linewidth=3, marker="o", label=f"winner, {results.winner}")
        )
    figure.legend(handles=handles, loc="outside lower left", ncols=4, fontsize=8.5)
