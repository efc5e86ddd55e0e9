"""The Python API: `train` a VAE on images, `load` one from a checkpoint."""

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from vae.checkpoint import find_checkpoint, load_model
from vae.config import Config
from vae.data import Dataset, Images, ImageSet, as_image_set, load_dataset
from vae.data.images import as_train_and_validation
from vae.data.splits import split_validation
from vae.errors import UsageError
from vae.metrics.validation_knn import ValidationKnn, sample_rows
from vae.progress import EpochProgress
from vae.trained_vae import TrainedVAE
from vae.training.best_model import BestModel, is_finite
from vae.training.loop import Report, check_fit
from vae.training.loop import train as run_epochs

if TYPE_CHECKING:
    import pandas as pd


def load(path: str | Path, device: str | torch.device | None = None) -> TrainedVAE:
    """Rebuild a VAE from a checkpoint, or the best one of a search.

    Parameters
    ----------
    path
        Directory with `model.safetensors` and `config.json`: a run of `python -m vae train`,
        ``runs/NAME/checkpoints/TRIAL`` of a search, or what `TrainedVAE.save` wrote; or ``runs/NAME`` of a
        search, whose best trial is meant.
    device
        ``cpu``, ``cuda`` or ``cuda:N``; by default a GPU if there is one.

    Raises
    ------
    UsageError
        There is no checkpoint and no search with a completed trial; or the device is unknown or not there.
    StorageError
        A file is missing or damaged, or the weights do not belong to the config.

    Examples
    --------
    >>> import vae
    >>> vae.train("digits", latent_dim=2, max_epochs=1, progress=False).save("digits-2d")
    >>> vae.load("digits-2d", device="cpu").config.model.latent_dim
    2
    """
    return load_model(find_checkpoint(path), choose_device(device))


def train(
    images: Images,
    labels: ArrayLike | None = None,
    *,
    validation: Images | tuple[Images, ArrayLike] | Literal[False] | None = None,
    resize: int | None = None,
    device: str | torch.device | None = None,
    on_report: Callable[[Report], bool | None] | None = None,
    progress: bool = True,
    **hyperparameters: Any,
) -> TrainedVAE:
    """Train one VAE and return the model of the epoch with the lowest ``val_loss``, or else of the last.

    Parameters
    ----------
    images
        Arrays (n, H, W) or (n, H, W, C), uint8 or floats in [0, 1], a tensor (n, C, H, W), or what
        `vae.load_dataset` takes or returns, of which the training part is used.
    labels
        Class of each image (n,), whole numbers or names, for ``val_knn_accuracy`` and for a ``conditional``
        VAE. Those of a data set are used by default.
    validation
        The validation images, or a pair of images and labels. By default a sixth of ``images``, chosen by
        ``seed`` and stratified by class. False trains on all images: nothing is measured but the losses of
        the training, and the last epoch counts.
    resize
        Pixels a side to which all images are resized, see `vae.load_dataset`; the model keeps it. By default
        what was done to the data set.
    device
        ``cpu``, ``cuda`` or ``cuda:N``; by default a GPU if there is one.
    on_report
        Called after each epoch with its metrics and the model; returning True ends the training.
    progress
        Whether a terminal or notebook shows how far the training has come.
    **hyperparameters
        Any of `vae.config.PARAMS`: ``architecture``, ``latent_dim``, ``max_epochs``, ``seed``, …

    Returns
    -------
    TrainedVAE
        Its ``history`` has the metrics of every epoch.

    Raises
    ------
    UsageError
        Images, labels, hyperparameters or the device cannot be used, or the loss became non-finite.
    StorageError
        A data set cannot be read.

    Examples
    --------
    >>> import vae
    >>> digits = vae.load_dataset("digits")
    >>> model = vae.train(digits, architecture="fc", latent_dim=10, max_epochs=2, progress=False)
    >>> model.history[["train_loss", "val_loss", "val_knn_accuracy"]].shape
    (2, 3)
    >>> vae.train(digits, latent_dims=10)
    Traceback (most recent call last):
        ...
    vae.errors.UsageError: unknown hyperparameter 'latent_dims', did you mean 'latent_dim'?
    """
    plain = {n: v.item() if isinstance(v, np.generic) else v for n, v in hyperparameters.items()}
    config = Config.from_params(plain)
    place = choose_device(device)
    if isinstance(images, str | Path):
        images = load_dataset(images, resize=resize, on_disk=True)
    dataset = None
    if isinstance(images, Dataset):
        if labels is None and resize in (None, images.resize):
            dataset = images.fingerprint
        resize = images.resize if resize is None else resize
    training, held_out, split_seed = _parts(images, labels, validation, config.training.seed, resize)
    check_fit(config, training.image_shape, len(training), training.n_classes)
    bar = EpochProgress(config.training.max_epochs) if progress else None

    with tempfile.TemporaryDirectory() as directory, bar or nullcontext():
        noted = {"split_seed": split_seed, "dataset": dataset, "resize": resize}
        best = kept_model(Path(directory), validated=held_out is not None, **noted)

        def keep_and_show(report: Report) -> bool | None:
            best.update(report)
            if bar is not None:
                bar.show(report)
            return on_report(report) if on_report is not None else None

        result = run_epochs(
            config,
            training,
            held_out,
            device=place,
            knn=None if held_out is None else validation_knn(training, held_out, config.training.seed, place),
            on_report=keep_and_show,
        )
        if result.stop_reason == "nan":
            raise diverged(config, len(result.history))
        return replace(load_model(Path(directory), place), history=_table(result.history))


def kept_model(directory: Path, *, validated: bool, **noted: Any) -> BestModel:
    """Return what keeps the model of the epoch with the lowest ``val_loss``, or else that of the last."""
    if validated:
        return BestModel(directory, "val_loss", **noted)
    return BestModel(directory, "train_loss", is_finite, **noted)


def validation_knn(
    training: ImageSet, validation: ImageSet, seed: int, device: torch.device
) -> ValidationKnn | None:
    """Return what measures ``val_knn_accuracy``, on samples of both parts; None without labels."""
    if training.labels is None or validation.labels is None:
        return None
    samples = (part.subset(torch.from_numpy(sample_rows(part, seed))) for part in (training, validation))
    return ValidationKnn(*(sample.to(device) for sample in samples))


def diverged(config: Config, epoch: int) -> UsageError:
    """Return the error of a training whose loss became non-finite in this epoch."""
    return UsageError(
        f"the loss became non-finite in epoch {epoch}; "
        f"try a learning_rate below {config.training.learning_rate:g}"
    )


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return the device of that name, or a GPU if there is one.

    Raises
    ------
    UsageError
        The name is unknown, or there is no such GPU.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise UsageError(f"device must be cpu, cuda or cuda:N, got '{device}'") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device '{device}' asks for a GPU and torch sees none; use the device cpu")
    return chosen


def _parts(
    images: Images,
    labels: ArrayLike | None,
    validation: Images | tuple[Images, ArrayLike] | Literal[False] | None,
    seed: int,
    resize: int | None,
) -> tuple[ImageSet, ImageSet | None, int | None]:
    """Return training and validation images, and the seed if they were split here."""
    if validation is False:
        return as_image_set(images, labels, resize=resize), None, None
    if validation is None:
        split = split_validation(as_image_set(images, labels, resize=resize), seed=seed)
        return split.train, split.validation, seed
    held_out, held_out_labels = validation if isinstance(validation, tuple) else (validation, None)
    training, validation_set = as_train_and_validation(images, labels, held_out, held_out_labels, resize)
    return training, validation_set, None


def _table(history: list[dict[str, float]]) -> "pd.DataFrame":
    """Return one row for each epoch, numbered from 1."""
    import pandas as pd  # nothing else here needs it

    return pd.DataFrame(history, index=pd.RangeIndex(1, len(history) + 1, name="epoch"))
