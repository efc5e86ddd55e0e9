"""TensorBoard's log of one training run: curves, distributions, hyperparameters, images, the latent space."""

from functools import cached_property
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from vae.atomic import write_text
from vae.config import Config
from vae.data import Dataset, ImageSet
from vae.errors import StorageError
from vae.inference import decode, to_unit
from vae.models import VAE
from vae.training.loop import Report

if TYPE_CHECKING:
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
    from torch.utils.tensorboard import SummaryWriter

N_LATENTS = 2000
"""Validation images whose latents are shown: one batch, and few enough for the projector's mosaic."""
N_TILES, TILES_PER_ROW = 16, 8
TILE_PIXELS = 96
"""Smaller images are enlarged to about this side."""
HPARAMS_SUFFIX = ".hparams"
PROJECTOR_FILE = "projector_config.pbtxt"

_FINAL_METRICS = (
    *("val_loss", "val_ssim", "val_mse", "val_psnr", "val_kl", "active_units"),
    *("val_neighbour_recall", "val_rankme"),
)
_TRAIN_BESIDE_VALIDATION = {
    "train beside validation": {
        name: ["Multiline", [f"train/{name}", f"val/{name}"]]
        for name in ("loss", "reconstruction_loss", "kl")
    }
}


class TensorBoard:
    """Writes a run to a directory that `tensorboard --logdir` reads; nothing is made before the first epoch.

    Always: every metric of `Report`, histograms of the weights and of the latents of validation images, the
    hyperparameters. With `images`: reconstructions, samples of the prior, and the latent space for the
    projector, the last only after the epochs 1, 2, 4, 8, … and the final one: each time it is 2 MB. The step
    is the epoch, rounded up.

    Parameters
    ----------
    validation
        The images that are shown: always the same ones, evenly spaced.
    epochs_before
        Epochs done before a run was resumed; what an earlier process logged after them is discarded.
    """

    def __init__(
        self,
        directory: Path,
        config: Config,
        dataset: Dataset,
        validation: ImageSet,
        *,
        images: bool = False,
        epochs_before: int = 0,
    ) -> None:
        self._directory = directory
        self._config = config
        self._dataset = dataset
        self._shown = _evenly_spaced(validation, N_LATENTS)
        self._images = images
        self._epochs_before = epochs_before

    def log(self, report: Report) -> None:
        """Log one report.

        Raises
        ------
        StorageError
            The directory cannot be written.
        """
        epoch = ceil(report.epoch)
        for name, value in report.metrics.items():
            self._writer.add_scalar(_tag(name), value, epoch)
        if report.stop_reason is None:  # the weights of a diverged model are not numbers
            with torch.no_grad():
                self._log_model(report.state.model, epoch)
        self._writer.flush()

    def _log_model(self, model: VAE, epoch: int) -> None:
        images = self._shown.images.to(next(model.parameters()).device)
        mean, log_variance = model.encode(to_unit(images))
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:  # biases and scales would only hide the weights
                self._writer.add_histogram(f"weights/{name}", parameter, epoch)
        self._writer.add_histogram("latent/mean", mean, epoch)
        self._writer.add_histogram("latent/std", (0.5 * log_variance).exp(), epoch)
        if not self._images:
            return
        n_tiles = N_TILES if len(images) >= N_TILES else min(len(images), TILES_PER_ROW)
        rows = torch.linspace(0, len(images) - 1, n_tiles, device=images.device).long()
        inputs, outputs = to_unit(images[rows]), decode(model, mean[rows])
        pairs = zip(inputs.split(TILES_PER_ROW), outputs.split(TILES_PER_ROW), strict=True)
        panel = torch.cat([part for pair in pairs for part in pair])
        self._writer.add_image("images/input_above_reconstruction", _mosaic(panel), epoch)
        noise = torch.randn(N_TILES, model.latent_dim, generator=torch.Generator().manual_seed(0))
        samples = decode(model, noise.to(images.device))
        self._writer.add_image("images/samples_of_the_prior", _mosaic(samples), epoch)
        if epoch.bit_count() == 1 or epoch == ceil(self._config.training.max_epochs):
            self._log_latent_space(mean, epoch)

    def _log_latent_space(self, mean: Tensor, epoch: int) -> None:
        labels = self._shown.labels
        names = None if labels is None else [self._dataset.class_names[label] for label in labels.tolist()]
        thumbnails = _thumbnails(to_unit(self._shown.images))
        before = self._projector_list()
        self._writer.add_embedding(mean, names, thumbnails, epoch, tag="latent_space")
        listed = {e.tensor_name: e for e in (*before.embeddings, *self._projector_list().embeddings)}
        # The projector opens the first of its list, and the writer knows nothing from before a resume.
        newest_first = sorted(listed.values(), key=lambda e: e.tensor_name, reverse=True)
        write_text(str(type(before)(embeddings=newest_first)), self._directory / PROJECTOR_FILE)

    def _projector_list(self) -> "ProjectorConfig":
        from google.protobuf import text_format
        from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

        path = self._directory / PROJECTOR_FILE
        return text_format.Parse(path.read_text() if path.exists() else "", ProjectorConfig())

    @cached_property
    def _writer(self) -> "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter  # slow to import
        from torch.utils.tensorboard.summary import hparams

        try:
            # TensorBoard keeps the first hyperparameters that it reads, and resuming may raise max_epochs.
            for old in self._directory.glob(f"*{HPARAMS_SUFFIX}"):
                old.unlink()
            with SummaryWriter(self._directory, filename_suffix=HPARAMS_SUFFIX) as writer:
                experiment, start, _ = hparams(
                    self._hyperparameters(), dict.fromkeys(map(_tag, _FINAL_METRICS))
                )
                writer.file_writer.add_summary(experiment)
                writer.file_writer.add_summary(start)
            writer = SummaryWriter(self._directory, purge_step=self._epochs_before + 1)
        except OSError as error:
            raise StorageError(f"cannot write {self._directory}: {error.strerror}") from error
        writer.add_custom_scalars(_TRAIN_BESIDE_VALIDATION)
        return writer

    def _hyperparameters(self) -> dict[str, Any]:
        params = {"dataset": self._dataset.name} | self._config.to_params()
        return {
            name: (" ".join(map(str, value)) or "none") if isinstance(value, list) else value
            for name, value in params.items()
        }


def _tag(metric: str) -> str:
    """Return where a metric is shown: TensorBoard makes a section of what stands before the slash."""
    section, _, name = metric.partition("_")
    return f"{section}/{name}" if section in ("train", "val") else f"run/{metric}"


def _evenly_spaced(images: ImageSet, at_most: int) -> ImageSet:
    """Rows from all over a set, which may be sorted by class."""
    return images.subset(torch.linspace(0, len(images) - 1, min(len(images), at_most)).long())


def _mosaic(images: Tensor) -> Tensor:
    """Return images (n, C, H, W) as one picture (3, height, width), small ones enlarged."""
    from torchvision.utils import make_grid  # slow to import

    scale = max(1, TILE_PIXELS // max(images.shape[2:]))
    tiles = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return make_grid(tiles, nrow=min(len(images), TILES_PER_ROW), pad_value=0.5)


def _thumbnails(images: Tensor) -> Tensor:
    """Return images (n, C, H, W) as squares: torch's mosaic breaks with portraits."""
    height, width = images.shape[2:]
    return pad(images, (0, max(0, height - width), 0, max(0, width - height)))
