"""What each of the most active latent dimensions means: one at a time is moved through its range."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from evaluation.figures.finalist_models import BestVae
from evaluation.figures.mosaic import decode_pictures, displayable, show_mosaic
from evaluation.figures.reconstructions import examples
from evaluation.figures.style import MUTED, WINNER
from vae.data import Dataset
from vae.inference import embed, to_unit

MAX_DIMENSIONS = 8
STEPS = np.linspace(-3, 3, 13, dtype=np.float32)
"""Standard deviations from the mean of the training images."""


def draw_traversals(dataset: Dataset, best: BestVae) -> Figure:
    """Draw a row for each dimension; all others stay where the first test image has them."""
    image = dataset.test.images[examples(dataset.test)[:1]]
    start = embed(best.model, image).numpy()[0]
    mean, deviation = best.train_latents.mean(axis=0), best.train_latents.std(axis=0)
    dimensions = most_active(best.train_latents)
    points = traversal_latents(start, dimensions, mean, deviation)

    _, height, width = best.model.image_shape
    n_rows, n_columns = len(dimensions), len(STEPS)
    figure = Figure(figsize=(11.4, max(2.2, 0.74 * n_rows * height / width + 0.7)))
    left, middle = figure.subplots(1, 2, width_ratios=(1.35, n_columns), gridspec_kw={"wspace": 0.04})
    show_mosaic(
        left, np.concatenate([displayable(to_unit(image)), decode_pictures(best.model, start[None])]), 1
    )
    for axes in (left, middle):
        axes.set_anchor("N")
    left.set_title(
        "image and its\nreconstruction", loc="center", fontsize=9, fontweight="normal", color=MUTED
    )
    show_mosaic(middle, decode_pictures(best.model, points), n_columns)
    middle.xaxis.tick_top()
    whole = [column for column, step in enumerate(STEPS) if step == round(step)]
    middle.set_xticks(
        whole, [f"{STEPS[column]:+.0f}".replace("-", "−").replace("+0", "0") for column in whole]
    )
    middle.set_xlabel("standard deviations from the mean of the training images", color=MUTED, fontsize=9)
    middle.xaxis.set_label_position("top")
    middle.set_yticks(range(n_rows), [f"z{d}, sd {deviation[d]:.2f}" for d in dimensions])
    for row, d in enumerate(dimensions):
        own = (start[d] - mean[d]) / max(deviation[d], 1e-12)
        if abs(own) <= STEPS[-1]:
            column = int(np.abs(STEPS - own).argmin())
            middle.add_patch(
                Rectangle(
                    (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=WINNER, linewidth=2, clip_on=False
                )
            )
    return figure


def most_active(latents: NDArray[np.float32]) -> list[int]:
    """Return the dimensions of latents (n, latent_dim) with the most variance, the largest first."""
    order = np.argsort(-latents.var(axis=0, dtype=np.float64), kind="stable")
    return [int(d) for d in order[:MAX_DIMENSIONS]]


def traversal_latents(
    start: NDArray[np.float32],
    dimensions: list[int],
    mean: NDArray[np.float32],
    deviation: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the points (len(dimensions) * len(STEPS), latent_dim) of all rows, one row after the other.

    ``start``, ``mean`` and ``deviation`` are (latent_dim,).
    """
    points = np.tile(start, (len(dimensions), len(STEPS), 1))
    for row, d in enumerate(dimensions):
        points[row, :, d] = mean[d] + STEPS * deviation[d]
    return points.reshape(-1, len(start))
