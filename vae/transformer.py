"""A VAE as a scikit-learn transformer: images in, their embedding out."""

import math
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from vae.api import load, train
from vae.config import PARAMS
from vae.data.arrays import MAX_SIDE, MIN_SIDE, to_uint8
from vae.errors import UsageError
from vae.trained_vae import TrainedVAE


class VAEEmbedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embed images with a VAE, as a transformer of scikit-learn.

    ``fit`` trains a VAE as `vae.train` does, which keeps the epoch with the lowest loss on a sixth of the
    images, and ``transform`` returns posterior means. Images are arrays (n, H, W) or (n, H, W, C), or
    flattened (n, H * W * C), with whole numbers in 0..255 or floats in [0, 1].

    Parameters
    ----------
    image_shape
        (H, W) or (H, W, C) of flattened images; by default they are square and grey.
    device
        ``cpu``, ``cuda`` or ``cuda:N``; by default a GPU if there is one.
    architecture, latent_dim, …
        Every hyperparameter of `vae.config.PARAMS`, with the same default.

    Attributes
    ----------
    model_
        The `TrainedVAE`.
    image_shape_
        Height, width, channels.
    n_features_in_
        Pixels of an image, times its channels.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from vae import VAEEmbedding
    >>> X = load_digits().data / 16
    >>> VAEEmbedding(latent_dim=4, max_epochs=1).fit_transform(X).shape
    (1797, 4)
    """

    def __init__(
        self,
        *,
        image_shape: tuple[int, ...] | None = None,
        device: str | None = None,
        architecture: str = "fc",
        latent_dim: int = 10,
        width: float = 1.0,
        conditional: bool = False,
        spherical: bool = False,
        learned_variance: bool = False,
        reconstruction_loss: str = "bce",
        image_weight: float = 1.0,
        kl_weight: float = 0.1,
        kl_warmup_epochs: float = 0.0,
        free_bits: float = 0.0,
        consistency_weight: float = 0.0,
        balance_losses: bool = False,
        ssim_window: int = 11,
        max_epochs: float = 20,
        batch_size: int = 256,
        learning_rate: float = 2e-3,
        optimizer: str = "adam",
        weight_decay: float = 0.0,
        schedule: str = "one_cycle",
        milestones: tuple[int, ...] = (),
        warmup_steps: int = 0,
        schedule_epochs: tuple[float, ...] = (),
        augment: str = "none",
        moves: str = "none",
        move_strength: float = 1.0,
        precision: str = "float32",
        seed: int = 0,
    ) -> None:
        self.image_shape = image_shape
        self.device = device
        self.architecture = architecture
        self.latent_dim = latent_dim
        self.width = width
        self.conditional = conditional
        self.spherical = spherical
        self.learned_variance = learned_variance
        self.reconstruction_loss = reconstruction_loss
        self.image_weight = image_weight
        self.kl_weight = kl_weight
        self.kl_warmup_epochs = kl_warmup_epochs
        self.free_bits = free_bits
        self.consistency_weight = consistency_weight
        self.balance_losses = balance_losses
        self.ssim_window = ssim_window
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.milestones = milestones
        self.warmup_steps = warmup_steps
        self.schedule_epochs = schedule_epochs
        self.augment = augment
        self.moves = moves
        self.move_strength = move_strength
        self.precision = precision
        self.seed = seed

    @classmethod
    def load(cls, path: str | Path, device: str | None = None) -> Self:
        """Return a fitted transformer of what `vae.load` takes, such as ``runs/NAME`` of a search.

        Examples
        --------
        >>> import vae
        >>> vae.train("digits", latent_dim=2, max_epochs=1, progress=False).save("digits-2d")
        >>> vae.VAEEmbedding.load("digits-2d").transform([[[0.0] * 8] * 8]).shape
        (1, 2)
        """
        model = load(path, device)
        params = model.config.to_params()
        if params["schedule_epochs"] == [params["max_epochs"]]:  # as by default
            params["schedule_epochs"] = []
        channels, height, width = model.image_shape
        estimator = cls(image_shape=(height, width, channels), device=device, **params)
        estimator.n_features_in_ = height * width * channels
        estimator._set_model(model, is_flat=False)
        return estimator

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Train on images.

        Parameters
        ----------
        X
            The images.
        y
            Class of each image (n,), for a ``conditional`` VAE alone.

        Raises
        ------
        UsageError
            Images or hyperparameters cannot be used, as `vae.train`.
        """
        is_flat = _n_dims(X) < 3
        images = self._images(X, reset=True)
        params = {name: getattr(self, name) for name in PARAMS}
        labels = y if self.conditional else None
        self._set_model(train(images, labels, device=self.device, progress=False, **params), is_flat=is_flat)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return the embedding (n, latent_dim), float32, of images of the size that it was fitted on."""
        check_is_fitted(self)
        return self.model_.embed(self._images(X, reset=False))

    def inverse_transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return the images of latents (n, latent_dim), in [0, 1], flattened if those of `fit` were."""
        check_is_fitted(self)
        images = self.model_.decode(check_array(X, dtype=np.float32))
        return images.reshape(len(images), -1) if self._is_flat else images

    def _set_model(self, model: TrainedVAE, *, is_flat: bool) -> None:
        channels, height, width = model.image_shape
        self.model_ = model
        self.image_shape_ = (height, width, channels)
        self._is_flat = is_flat

    def _images(self, X: ArrayLike, *, reset: bool) -> torch.Tensor:
        """Return images as a tensor uint8 (n, C, H, W); unless ``reset``, they must be as those of `fit`."""
        resize = None if reset else self.model_.resize
        if _n_dims(X) > 2:
            images = to_uint8(np.asarray(X), "X", resize, is_first=reset)
            validate_data(self, images.reshape(len(images), -1), reset=reset)
        else:
            flat = validate_data(self, X, reset=reset, ensure_min_samples=2 if reset else 1)
            shape = self._shape_of_flat(flat.shape[1]) if reset else self.image_shape_
            images = to_uint8(flat.reshape(len(flat), *shape), "X", is_first=reset)
        return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))

    def _shape_of_flat(self, n_features: int) -> tuple[int, ...]:
        """Return height, width and channels of images with so many values."""
        if self.image_shape is not None:
            shape = (*self.image_shape, 1)[:3]
            if math.prod(shape) != n_features:
                raise UsageError(
                    f"image_shape must have the {n_features} values of a row of X, got {self.image_shape}"
                )
            return shape
        side = math.isqrt(n_features)
        if side * side != n_features or not MIN_SIDE <= side <= MAX_SIDE:
            raise UsageError(
                f"X has n_features={n_features}, which is no square grey image of {MIN_SIDE} to {MAX_SIDE} "
                "pixels a side; give image_shape=(H, W) or (H, W, C)"
            )
        return side, side, 1

    @property
    def _n_features_out(self) -> int:
        return int(self.model_.config.model.latent_dim)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.three_d_array = True
        tags.input_tags.positive_only = True
        return tags


def _n_dims(X: ArrayLike) -> int:
    return int(X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim)
