"""Test images and what the VAEs make of them: originals on top, reconstructions below."""

import numpy as np
from matplotlib.figure import Figure

from evaluation.figures.mosaic import displayable
from evaluation.figures.style import INK, WINNER, shown_name
from vae.data import Dataset, ImageSet
from vae.inference import reconstruct, to_unit
from vae.models import VAE

MAX_COLUMNS = 10


def draw_reconstructions(dataset: Dataset, models: dict[str, VAE]) -> Figure:
    """Draw test images of every class, and below each the reconstruction of each model.

    `examples` chooses the images. The models, on the CPU, come by the title of their row, the winner's first.
    """
    rows = examples(dataset.test)
    images = dataset.test.images[rows]
    pictures = {"original": to_unit(images)} | {
        name: reconstruct(model, images) for name, model in models.items()
    }
    n_columns = len(rows)
    figure = Figure(figsize=(0.95 * n_columns + 1.5, 0.86 * len(pictures) + 0.35))
    grid = figure.subplots(
        len(pictures), n_columns, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.04}
    )
    for i, (name, row) in enumerate(pictures.items()):
        for j, picture in enumerate(displayable(row)):
            axes = grid[i, j]
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.grid(visible=False)
            axes.spines[:].set_visible(False)
            if i == 0 and dataset.test.labels is not None:
                label = int(dataset.test.labels[rows[j]])
                title = shown_name(dataset.class_names[label], 16)
                axes.set_title(title, loc="center", fontsize=8.5, fontweight="normal")
        grid[i, 0].set_ylabel(
            name,
            rotation=0,
            ha="right",
            va="center",
            labelpad=8,
            color=WINNER if i == 1 else INK,
            fontweight="bold" if i == 1 else "normal",
            fontsize=9,
        )
    return figure


def examples(images: ImageSet) -> list[int]:
    """Return the rows of ten images, as many of each class as go into ten; without labels, the first rows."""
    if images.labels is None:
        return list(range(min(MAX_COLUMNS, len(images))))
    labels = images.labels.numpy()
    classes = np.unique(labels)[:MAX_COLUMNS]
    n_each = MAX_COLUMNS // len(classes)
    return [int(row) for label in classes for row in np.nonzero(labels == label)[0][:n_each]]
