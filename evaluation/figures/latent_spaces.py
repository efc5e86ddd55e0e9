"""The test images as dots in two dimensions, one panel per method, with one legend for all."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from evaluation.analysis.results import Results
from evaluation.embedders import METHODS, Embedding, EmbeddingKey, label
from evaluation.embedders.files import embedding_file, read_embedding
from evaluation.figures.finalist_models import best_key
from evaluation.figures.style import INK, MUTED, WINNER, class_colours, shown_name
from tune.space.display import percent
from tune.storage.run_directory import RunDirectory


@dataclass(frozen=True, slots=True)
class Panel:
    """One view of an embedding: a title, how it came to have two dimensions, and the points (n, 2)."""

    key: EmbeddingKey
    title: str
    remark: str
    points: NDArray[np.float32]
    winner: bool = False


def panel(title: str, embedding: Embedding, *, winner: bool = False) -> Panel:
    """Return the view of an embedding's test points.

    More than two dimensions are seen through their two first principal components, fitted on the
    training points.
    """
    if embedding.key.dim == 2:
        return Panel(embedding.key, title, "2 dimensions", embedding.test, winner)
    if embedding.key.dim == 1:
        flat = np.zeros_like(embedding.test)
        return Panel(embedding.key, title, "1 dimension", np.hstack([embedding.test, flat]), winner)
    pca = PCA(2, svd_solver="covariance_eigh").fit(embedding.train)
    explained = f"{percent(pca.explained_variance_ratio_.sum(), 0)} of the variance"
    remark = f"first 2 principal components of its {embedding.key.dim} dimensions ({explained})"
    return Panel(embedding.key, title, remark, pca.transform(embedding.test), winner)


def latent_space_panels(run: RunDirectory, results: Results) -> list[Panel]:
    """Return a view of each two-dimensional embedding on disk, and of the best VAE's latent space.

    Raises
    ------
    StorageError
        An embedding is damaged.
    """
    pictures = [(name, method.needs_vaes) for name, method in METHODS.items() if method.is_picture]
    keys = [EmbeddingKey(name, 2) for name, of_vae in pictures if not of_vae]
    if key := best_key(run, results):
        made_of_it = [name for name, of_vae in pictures if of_vae]
        keys += [key, *(EmbeddingKey(name, 2, key.trial_id, key.training_seed) for name in made_of_it)]
    return [
        panel(label(key), read_embedding(run.embeddings_dir, key), winner=results.is_winner(key))
        for key in keys
        if embedding_file(run.embeddings_dir, key).exists()
    ]


def _legend_columns(names: list[str], width: float) -> int:
    """Return how many names stand side by side in ``width`` inches; more than ten take three rows or more."""
    widths = [0.4 + 0.08 * len(name) for name in names]
    if len(names) <= 10 and sum(widths) <= width:
        return len(names)
    few_rows = -(-len(names) // 3) if len(names) > 10 else len(names)
    return max(1, min(few_rows, int(width / max(widths))))


def draw_latent_spaces(
    panels: list[Panel], labels: NDArray[np.int64] | None, class_names: tuple[str, ...]
) -> Figure:
    """Draw the panels side by side, more than three of them in two rows."""
    n_rows = 1 if len(panels) <= 3 else 2
    n_columns = -(-len(panels) // n_rows)
    figure = Figure(figsize=(4.1 * n_columns, 4.4 * n_rows + 0.5))
    grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for unused in grid[len(panels) :]:
        unused.remove()
    colours = class_colours(len(class_names)) if labels is not None else []
    order = np.random.default_rng(0).permutation(len(panels[0].points))  # no class hides the others
    dots = [colours[label] for label in labels[order]] if labels is not None else MUTED
    size = float(np.clip(16_000 / len(order), 1.2, 14))
    for axes, view in zip(grid, panels, strict=False):
        points = view.points[order]
        axes.scatter(points[:, 0], points[:, 1], c=dots, s=size, alpha=0.75, linewidths=0, rasterized=True)
        low, high = np.percentile(points, [0.1, 99.9], axis=0)  # a few stray points would shrink all others
        margin = 0.05 * (high - low) + 1e-9
        axes.set(
            xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1])
        )
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_title(shown_name(view.title), pad=18, color=WINNER if view.winner else INK)
        axes.text(0, 1.015, view.remark, transform=axes.transAxes, fontsize=8, color=MUTED, va="bottom")
    if labels is not None:
        handles = [
            Line2D([], [], marker="o", linestyle="", markersize=6, color=colour, label=shown_name(name))
            for colour, name in zip(colours, class_names, strict=True)
        ]
        columns = _legend_columns([str(handle.get_label()) for handle in handles], figure.get_figwidth())
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=columns,
            handletextpad=0.1,
            columnspacing=1.2,
            fontsize=9,
        )
    return figure
