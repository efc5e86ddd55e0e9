"""KNN accuracy on the test set against k and against samples per class, one line per embedding."""

from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from evaluation.analysis.results import Results
from evaluation.embedders import METHODS, EmbeddingKey, label
from evaluation.figures.style import MUTED, WINNER, label_line_ends, shown_name
from evaluation.scores.settings import ALL_IMAGES_K10

DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.2, 1.2, 1.2)))


@dataclass(frozen=True, slots=True)
class Line:
    """How an embedding is drawn."""

    name: str
    colour: str
    dashes: object
    winner: bool


def draw_accuracy(results: Results) -> Figure:
    """Draw both panels."""
    lines = _lines(results)
    figure = Figure(figsize=(11, 5.2))
    by_k, by_size = figure.subplots(1, 2, gridspec_kw={"wspace": 0.08}, sharey=True)

    ends = []
    for key, line in lines.items():
        scores = results.scores.knn_of(key, "test")
        chosen = scores[scores["samples_per_class"].isna() & (scores["weights"] == ALL_IMAGES_K10.weights)]
        _draw(by_k, chosen.set_index("n_neighbors")["value"], line)
    ks = sorted(results.scores.knn["n_neighbors"].unique())
    by_k.set_xscale("log")
    by_k.set_xticks(ks, [f"{k:.0f}" for k in ks])
    by_k.set_title("Against the number of neighbours")
    by_k.set_xlabel("neighbours k (all training images, distance weights)")
    by_k.set_ylabel("KNN accuracy on the test set")

    n_all = _samples_per_class_of_all(results)
    for key, line in lines.items():
        scores = results.scores.knn_of(key, "test")
        chosen = scores[
            (scores["n_neighbors"] == ALL_IMAGES_K10.n_neighbors)
            & (scores["weights"] == ALL_IMAGES_K10.weights)
        ]
        series = chosen.assign(samples_per_class=chosen["samples_per_class"].fillna(n_all))
        drawn = _draw(by_size, series.set_index("samples_per_class")["value"], line)
        if drawn is not None:
            ends.append((drawn, line.name, line.colour, line.winner))
    sizes = sorted(results.scores.knn["samples_per_class"].dropna().unique())
    by_size.set_xscale("log")
    by_size.set_xticks([*sizes, n_all], [*(f"{size:,.0f}" for size in sizes), "all"])
    by_size.set_xlim(right=n_all * 1.03)
    by_size.set_title("Against the number of training images")
    by_size.set_xlabel(f"training images per class (k = {ALL_IMAGES_K10.n_neighbors}, distance weights)")
    for axes in (by_k, by_size):
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    label_line_ends(by_size, ends)
    return figure


def _lines(results: Results) -> dict[EmbeddingKey, Line]:
    lines = {}
    for key in results.comparison.keys:
        siblings = [other for other in results.comparison.keys if other.method == key.method]
        # The name of a trial contains its dimension.
        own = shown_name(label(key))
        name = own if key.method == "vae" else f"{own} {key.dim}-d"
        colour = METHODS[key.method].colour if key.method in METHODS else MUTED
        dashes = DASHES[siblings.index(key) % len(DASHES)]
        lines[key] = Line(name, colour, dashes, results.is_winner(key))
    return lines


def _draw(axes: Axes, series: pd.Series, line: Line) -> float | None:
    """Draw one line and return the height of its right end."""
    if series.empty:
        return None
    series = series.sort_index()
    axes.plot(
        series.index,
        series.to_numpy(),
        color=line.colour,
        linestyle=line.dashes,
        linewidth=2.6 if line.winner else 1.3,
        marker="o",
        markersize=5 if line.winner else 3,
        zorder=3 if line.winner else 2,
        alpha=1 if line.winner or line.colour != WINNER else 0.6,
    )
    return float(series.iloc[-1])


def _samples_per_class_of_all(results: Results) -> float:
    """Return where "all" stands on the axis: the training images per class, on average."""
    record = results.evaluation
    n_classes = (len(record.dataset.class_names) if record else 0) or 1
    n_train = results.scores.knn.query("protocol == 'test'")["n_train"].max()
    return float(n_train) / n_classes
