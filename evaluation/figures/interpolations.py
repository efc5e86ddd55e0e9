"""From one test image to another along the straight line between their latent means."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.figures.finalist_models import BestVae
from evaluation.figures.mosaic import decode_pictures, displayable, show_mosaic
from evaluation.figures.style import INK, MUTED, shown_name
from vae.data import Dataset, ImageSet
from vae.inference import embed, to_unit

N_PAIRS = 5
N_STEPS = 9


def draw_interpolations(dataset: Dataset, best: BestVae) -> Figure | None:
    """Draw a row for each of some pairs of test images: both at the ends, the decoded line between them.

    `pairs` chooses the images; with a single one there is nothing to draw.
    """
    rows = pairs(dataset.test)
    if not rows:
        return None
    images = dataset.test.images[np.array(rows).ravel()]
    pictures = displayable(to_unit(images))
    latents = embed(best.model, images).numpy().reshape(len(rows), 2, -1)
    share = np.linspace(0, 1, N_STEPS, dtype=np.float32)[:, None]
    lines = np.concatenate([start + share * (end - start) for start, end in latents])

    _, height, width = best.model.image_shape
    figure = Figure(figsize=(11.4, 0.86 * len(rows) * height / width + 0.5), layout="compressed")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, N_STEPS, 1), gridspec_kw={"wspace": 0.015})
    show_mosaic(left, pictures[::2], 1)
    show_mosaic(middle, decode_pictures(best.model, lines), N_STEPS)
    show_mosaic(right, pictures[1::2], 1)
    for axes, place, title in (
        (left, "center", "image"),
        (middle, "left", "reconstruction"),
        (middle, "center", "decoded on the line between"),
        (middle, "right", "reconstruction"),
        (right, "center", "image"),
    ):
        axes.set_title(title, loc=place, fontsize=9, fontweight="normal", color=MUTED)
    if dataset.test.labels is not None:
        labels = dataset.test.labels.numpy()
        _name_rows(left, [dataset.class_names[labels[start]] for start, _ in rows])
        right.yaxis.tick_right()
        _name_rows(right, [dataset.class_names[labels[end]] for _, end in rows])
    return figure


def pairs(images: ImageSet) -> list[tuple[int, int]]:
    """Return the rows of up to `N_PAIRS` pairs, in the dataset's order.

    The classes take turns, so that a pair has two classes and no image comes twice while there are others.
    Without labels, or with a single class, neighbours in the dataset are paired.
    """
    labels = np.zeros(len(images), dtype=np.int64) if images.labels is None else images.labels.numpy()
    classes = np.unique(labels)
    if len(classes) < 2:
        return [(2 * i, 2 * i + 1) for i in range(min(N_PAIRS, len(images) // 2))]
    rows = []
    for turn in range(2 * N_PAIRS):
        own = np.nonzero(labels == classes[turn % len(classes)])[0]
        rows.append(int(own[turn // len(classes) % len(own)]))
    return list(zip(rows[::2], rows[1::2], strict=True))


def _name_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), [shown_name(name) for name in names], fontsize=9, color=INK)
