"""A trained VAE and what one does with it: embed, reconstruct, decode, save."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from vae.config import Config
from vae.data import Images, as_images
from vae.errors import UsageError
from vae.inference import decode, embed
from vae.models import VAE, ImageShape

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class TrainedVAE:
    """A model with its configuration, in evaluation mode, as `vae.load` and `vae.train` return it.

    Examples
    --------
    >>> import vae
    >>> model = vae.train("digits", latent_dim=2, max_epochs=1, progress=False)
    >>> model
    TrainedVAE(fc, 2 latent dimensions, images 1×8×8, epoch 1)
    >>> images = vae.load_dataset("digits").test.images
    >>> model.embed(images).shape
    (359, 2)
    """

    model: VAE
    config: Config
    image_shape: ImageShape
    """Channels, height, width."""
    epoch: float | None
    """After how many epochs the weights were so; None if that is not known."""
    metrics: dict[str, float]
    """Measured after that epoch."""
    split_seed: int | None
    """Seed of `vae.data.splits.split_validation`, which separates the validation images from the training
    images; None if they were given."""
    dataset: str | None = None
    """Fingerprint of the data set that it was trained on; None if that is not known."""
    resize: int | None = None
    """Pixels a side to which its images were resized, see `vae.load_dataset`, and to which all that it is
    given are; None if they were not."""
    history: "pd.DataFrame | None" = None
    """The metrics of every epoch, one a row; None for a model that was loaded."""

    def __repr__(self) -> str:
        model, shape = self.config.model, "×".join(map(str, self.image_shape))
        return (
            f"TrainedVAE({model.architecture}, {model.latent_dim} latent dimensions, images {shape}, "
            f"epoch {self.epoch})"
        )

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.model.parameters()).device

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Return the embedding: the posterior mean of each image.

        Parameters
        ----------
        images
            Of the size that the model was trained on, see `vae.data.as_images`; of any size if it was
            trained with ``resize``. Of a name or a path all images are embedded, any number of them, in the
            order in which `python -m vae embed` writes them.

        Returns
        -------
        NDArray
            float32 (n, latent_dim), in the order of the images.

        Raises
        ------
        UsageError
            The images cannot be used, or have another size.

        Examples
        --------
        >>> import numpy as np, vae
        >>> model = vae.train("digits", latent_dim=2, max_epochs=1, progress=False)
        >>> model.embed(np.zeros((3, 8, 8))).shape
        (3, 2)
        """
        if isinstance(images, str | Path):
            from vae.data.stream import stream_images  # pyarrow, which arrays do not need

            chunks = stream_images(images, self.image_shape, resize=self.resize).chunks
            return np.concatenate(
                [embed(self.model, chunk.images.to(self.device)).cpu().numpy() for chunk in chunks]
            )
        pixels = as_images(images, self.resize)
        shape = tuple(pixels.shape[1:])
        if shape != self.image_shape:
            raise UsageError(
                f"the model was trained on images {self.image_shape}, got {shape} (channels, height, width)"
            )
        return embed(self.model, pixels.to(self.device)).cpu().numpy()

    def decode(self, latents: ArrayLike) -> NDArray[np.float32]:
        """Return the images of points of the latent space.

        Parameters
        ----------
        latents
            (n, latent_dim); a random draw of the prior is ``rng.standard_normal((n, latent_dim))``.

        Returns
        -------
        NDArray
            float32 in [0, 1]: (n, H, W), or (n, H, W, C) in colour.

        Raises
        ------
        UsageError
            ``latents`` has another shape, or holds NaN or infinity.

        Examples
        --------
        >>> import numpy as np, vae
        >>> model = vae.train("digits", latent_dim=2, max_epochs=1, progress=False)
        >>> model.decode(np.zeros((3, 2))).shape
        (3, 8, 8)
        """
        points = torch.as_tensor(np.asarray(latents), dtype=torch.float32)
        latent_dim = self.model.latent_dim
        if points.ndim != 2 or points.shape[1] != latent_dim:
            raise UsageError(f"latents must have shape (n, {latent_dim}), got {tuple(points.shape)}")
        if not points.isfinite().all():
            raise UsageError("latents must be finite, got NaN or infinity")
        decoded = decode(self.model, points.to(self.device)).permute(0, 2, 3, 1).cpu().numpy()
        return decoded[..., 0] if decoded.shape[3] == 1 else decoded

    def reconstruct(self, images: Images) -> NDArray[np.float32]:
        """Return the images as the model decodes them from their embedding.

        It takes what `embed` takes, with the same errors, and returns what `decode` returns.

        Examples
        --------
        >>> import numpy as np, vae
        >>> model = vae.train("digits", latent_dim=2, max_epochs=1, progress=False)
        >>> model.reconstruct(np.zeros((3, 8, 8))).shape
        (3, 8, 8)
        """
        return self.decode(self.embed(images))

    def save(self, directory: str | Path) -> None:
        """Write `model.safetensors` and `config.json` into a directory, for `vae.load`.

        Raises
        ------
        StorageError
            The directory cannot be written.

        Examples
        --------
        >>> import vae
        >>> vae.train("digits", latent_dim=2, max_epochs=1, progress=False).save("digits-2d")
        >>> vae.load("digits-2d")
        TrainedVAE(fc, 2 latent dimensions, images 1×8×8, epoch 1)
        """
        from vae.checkpoint import save_model  # which imports this file

        save_model(
            Path(directory),
            self.model,
            self.config,
            epoch=self.epoch,
            metrics=self.metrics,
            split_seed=self.split_seed,
            dataset=self.dataset,
            resize=self.resize,
        )
