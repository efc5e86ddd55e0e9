"""Images decoded from random latents: of the prior, and of where the training images really lie."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evaluation.figures.finalist_models import BestVae
from evaluation.figures.mosaic import decode_pictures, show_mosaic
from evaluation.figures.style import MUTED

N_ROWS = 8
N_COLUMNS = 12


def draw_samples(best: BestVae) -> Figure:
    """Draw both grids side by side, always the same."""
    latents = best.train_latents
    panels = (
        (
            "Prior: z ~ N(0, I)",
            f"what training pulls the latents towards, here with a KL weight of {best.kl_weight:.3g}",
            prior_latents(N_ROWS * N_COLUMNS, latents.shape[1], 0),
        ),
        (
            "Gaussian fitted to the latents: z ~ N(mean, covariance)",
            f"of the posterior means of the {len(latents):,} training images",
            fitted_latents(N_ROWS * N_COLUMNS, latents, 0),
        ),
    )
    _, height, width = best.model.image_shape
    figure = Figure(figsize=(11.4, 5.6 * N_ROWS / N_COLUMNS * height / width + 0.5))
    for axes, (title, remark, points) in zip(
        figure.subplots(1, 2, gridspec_kw={"wspace": 0.03}), panels, strict=True
    ):
        show_mosaic(axes, decode_pictures(best.model, points), N_COLUMNS)
        axes.set_title(title, pad=18)
        axes.text(0, 1.015, remark, transform=axes.transAxes, fontsize=8, color=MUTED, va="bottom")
    return figure


def prior_latents(n: int, latent_dim: int, seed: int) -> NDArray[np.float32]:
    """Return points (n, latent_dim) of the standard normal distribution."""
    return np.random.default_rng(seed).standard_normal((n, latent_dim), dtype=np.float32)


def fitted_latents(n: int, latents: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return points (n, latent_dim) of the Gaussian with the mean and covariance of latents (m, latent_dim).

    Dimensions that are not in use have next to no variance, which the eigenvectors bear and Cholesky's method
    would not.
    """
    values = latents.astype(np.float64)
    covariance = np.atleast_2d(np.cov(values, rowvar=False))
    generator = np.random.default_rng(seed)
    drawn = generator.multivariate_normal(values.mean(axis=0), covariance, n, method="eigh")
    return drawn.astype(np.float32)
