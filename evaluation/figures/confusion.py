"""Which classes the neighbours in the winner's latent space mistake for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from evaluation.analysis.results import Results
from evaluation.figures.style import INK, WINNER, shown_name
from evaluation.scores.settings import ALL_IMAGES_K10

MAX_CLASSES = 30
"""More do not fit on a page."""
_SHADES = LinearSegmentedColormap.from_list("winner", ["#ffffff", WINNER])


def draw_confusion(results: Results, class_names: Sequence[str]) -> Figure | None:
    """Draw the share of each class's test images (rows) that are taken for each class (columns), in percent.

    None if the winner's predictions are not known, or there are too many classes.
    """
    winner = results.comparison.winner
    if winner is None:
        return None
    predictions = results.scores.predictions_of(winner.key)
    n = len(class_names)
    if predictions.empty or not 1 < n <= MAX_CLASSES:
        return None
    counts = np.zeros((n, n))
    np.add.at(counts, (predictions["label"], predictions["predicted"]), 1)
    shares = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    figure = Figure(figsize=(1.8 + 0.62 * n, 1.4 + 0.5 * n))
    axes = figure.subplots()
    axes.grid(visible=False)
    axes.imshow(np.sqrt(shares), cmap=_SHADES, vmin=0, vmax=10, aspect="auto")  # the root shows small shares
    for row, column in zip(*np.nonzero(shares >= 0.05), strict=True):
        share = shares[row, column]
        colour = "white" if share > 45 else INK
        text = f"{share:.0f}" if share >= 9.95 else f"{share:.1f}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8.5)
    names = [shown_name(name) for name in class_names]
    axes.set_xticks(range(n), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n), names)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("taken for")
    axes.set_ylabel("test images of")
    axes.set_title(
        f"{shown_name(str(results.winner))}: percent of a class, k = {ALL_IMAGES_K10.n_neighbors}, "
        "all training images"
    )
    return figure
