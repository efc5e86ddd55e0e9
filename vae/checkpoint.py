"""Models on disk: `model.safetensors` and `config.json`, written atomically and read without pickle."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vae.atomic import replaced_file, write_text
from vae.config import Config
from vae.errors import StorageError, UsageError
from vae.models import VAE, ImageShape, build_model
from vae.trained_vae import TrainedVAE

MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class SavedConfig:
    """What `config.json` holds.

    ``n_classes`` is 0 but for a conditional VAE; ``resize`` is None unless the images that the model was
    trained on were resized, see `vae.data.load_dataset`.
    """

    config: Config
    image_shape: ImageShape
    n_classes: int = 0
    resize: int | None = None


def save_model(
    directory: Path,
    model: VAE,
    config: Config,
    *,
    epoch: float | None = None,
    metrics: dict[str, float] | None = None,
    split_seed: int | None = None,
    dataset: str | None = None,
    resize: int | None = None,
) -> None:
    """Write a model into a directory, which is made if need be.

    Each file is replaced in one step. What changes from epoch to epoch travels in the header of the weights,
    so a crash between the two files leaves nothing that disagrees. ``dataset`` is the fingerprint of the data
    set that the model was trained on, ``resize`` what `vae.data.load_dataset` did to its images.

    Raises
    ------
    StorageError
        The directory cannot be written.
    """
    write_config(directory, config, model.image_shape, model.n_classes, resize)
    header = {"epoch": epoch, "metrics": metrics or {}, "split_seed": split_seed, "dataset": dataset}
    write_tensors(directory / MODEL_FILE, model.state_dict(), header)


def find_checkpoint(path: str | Path) -> Path:
    """Return the checkpoint at a path, or that of the best trial of a search whose run directory it is.

    The best trial is the completed one with the best first objective, as `tune.Study.best_trial`; while a
    study is being extended to a larger budget that no trial has completed, it is one that had completed the
    budget before.

    Raises
    ------
    UsageError
        There is neither, or no trial has trained its full budget.
    StorageError
        The files of the search are damaged.
    """
    if "://" in str(path):
        raise UsageError(
            f"{path} is no path; tune.load('{path}').best_trial.checkpoint fetches its best model"
        )
    directory = Path(path)
    if (directory / CONFIG_FILE).is_file():
        return directory
    if (directory / _STUDY_FILE).is_file():
        return _best_of_run(directory)
    if not directory.exists():
        raise UsageError(f"there is no {path}; name a run of a search or of a training, or a checkpoint")
    raise UsageError(
        f"{path} is not a checkpoint: it has no {CONFIG_FILE}; a run of a search would have a {_STUDY_FILE}"
    )


_STUDY_FILE, _TRIALS_FILE = "study.json", "trials.parquet"
"""What the run directory of a search has, see `tune.storage`."""


def _best_of_run(run: Path) -> Path:
    import pyarrow as pa  # nothing else here needs it
    import pyarrow.parquet as pq

    try:
        study = json.loads((run / _STUDY_FILE).read_text(encoding="utf-8"))
        mode, before = study.get("mode", "max"), _budget_before(study)
        columns = ["status", "objective", "checkpoint", "number", "epochs"]
        trials = pq.ParquetFile(run / _TRIALS_FILE).read(columns).to_pylist()
    except FileNotFoundError:
        trials, before = [], None  # the search has only begun
    except (OSError, ValueError, AttributeError, pa.ArrowException) as error:
        raise StorageError(f"{run} is damaged or not the run of a search: {error}") from error
    trials = [row for row in trials if row["objective"] is not None]
    whole = [row for row in trials if row["status"] == "completed"]
    if not whole and before is not None:
        whole = [row for row in trials if row["status"] != "failed" and (row["epochs"] or 0) >= before]
    whole.sort(key=lambda row: (row["objective"] if mode == "min" else -row["objective"], row["number"]))
    if not whole:
        raise UsageError(
            f"no trial of {run} has trained its full budget yet; name one in {run / 'checkpoints'}"
        )
    if not whole[0]["checkpoint"]:
        raise UsageError(f"the best trial of {run} has no checkpoint; name another of {run}/checkpoints")
    return run / whole[0]["checkpoint"]


def _budget_before(study: dict[str, Any]) -> float | None:
    """Return the budget in epochs that a study had completed before its extension, see `tune.storage`."""
    sessions, now = study.get("sessions", ()), study.get("arguments", {}).get("max_epochs", 0)
    budgets = [s.get("max_epochs", 0) for s in sessions if s.get("status") in ("completed", "plateau")]
    return max((budget for budget in budgets if 0 < budget < now), default=None)


def load_model(directory: Path, device: str | torch.device = "cpu") -> TrainedVAE:
    """Rebuild a model from a checkpoint directory.

    Raises
    ------
    StorageError
        A file is missing or damaged, or the weights do not belong to the config.
    """
    saved = read_config(directory)
    tensors, header = read_tensors(directory / MODEL_FILE, device)
    model = rebuild_model(saved, directory).to(device)
    load_weights(model, tensors, directory / MODEL_FILE)
    return TrainedVAE(
        model=model.eval(),
        config=saved.config,
        image_shape=saved.image_shape,
        epoch=header.get("epoch"),
        metrics=header.get("metrics", {}),
        split_seed=header.get("split_seed"),
        dataset=header.get("dataset"),
        resize=saved.resize,
    )


def rebuild_model(saved: SavedConfig, directory: Path) -> VAE:
    """Build the model of a checkpoint's config, without its weights; a StorageError if nobody could."""
    try:
        return build_model(saved.config.model, saved.image_shape, n_classes=saved.n_classes)
    except (TypeError, OverflowError, RuntimeError, MemoryError) as error:  # sizes beyond any memory
        reason = str(error).partition("\n")[0]
        raise StorageError(f"{directory / CONFIG_FILE} is of no model that can be built: {reason}") from error


def write_config(
    directory: Path,
    config: Config,
    image_shape: ImageShape,
    n_classes: int = 0,
    resize: int | None = None,
) -> None:
    """Write `config.json`, making the directory if need be."""
    content = {
        "format_version": FORMAT_VERSION,
        "image_shape": list(image_shape),
        **({} if resize is None else {"resize": resize}),
        "n_classes": n_classes,
        "params": config.to_params(),
    }
    write_text(json.dumps(content, indent=2) + "\n", directory / CONFIG_FILE)


def read_config(directory: Path) -> SavedConfig:
    """Return what `config.json` of a checkpoint directory holds."""
    path = directory / CONFIG_FILE
    if not path.is_file():
        raise StorageError(f"{directory} is not a checkpoint: it has no {CONFIG_FILE}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format_version"]
        channels, height, width = (int(side) for side in content["image_shape"])
        n_classes = int(content.get("n_classes", 0))
        resize = None if content.get("resize") is None else int(content["resize"])
        params = content["params"]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise StorageError(f"{path} is damaged or not a checkpoint's: {error!r}") from error
    if version != FORMAT_VERSION:
        raise StorageError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}")
    try:
        return SavedConfig(Config.from_params(params), (channels, height, width), n_classes, resize)
    except UsageError as error:
        raise StorageError(f"{path}: {error}") from error


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header to one safetensors file, in one step."""
    # Contiguous copies: safetensors refuses shared and channels-last memory.
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replaced_file(path) as temporary:
        try:
            save_file(plain, temporary, metadata={"json": json.dumps(header)})
        except SafetensorError as error:  # a full disk, among others
            raise StorageError(f"cannot write {path}: {error}") from error


def read_metrics(directory: Path) -> dict[str, float]:
    """Return the metrics of the epoch that a checkpoint was saved after; empty if they were not kept."""
    metrics: dict[str, float] = read_header(directory / MODEL_FILE).get("metrics", {})
    return metrics


def is_whole(directory: Path) -> bool:
    """Whether a directory holds a model that can be loaded: files that are there may be empty or cut off."""
    try:
        read_config(directory)
        read_header(directory / MODEL_FILE)
    except StorageError:
        return False
    return True


def read_header(path: Path) -> dict[str, Any]:
    """Return the JSON header of a safetensors file, which is as long as it says."""
    with _opened(path, "cpu") as file:
        return _header(file)


def read_tensors(path: Path, device: str | torch.device = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the JSON header of a safetensors file. Nothing in it is ever executed."""
    with _opened(path, device) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, _header(file)  # noqa: SIM118 - no dict


@contextmanager
def _opened(path: Path, device: str | torch.device) -> Iterator[Any]:
    if not path.is_file():
        raise StorageError(f"{path.parent} is not a checkpoint: it has no {path.name}")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            yield file
    except (SafetensorError, ValueError, OSError) as error:
        raise StorageError(f"{path} is damaged or not a checkpoint's: {error}") from error


def _header(file: Any) -> dict[str, Any]:
    header = json.loads((file.metadata() or {}).get("json", "{}"))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header


def load_weights(model: VAE, tensors: dict[str, Tensor], path: Path) -> None:
    """Load weights into a model; one line, not torch's many, when they do not fit."""
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise StorageError(f"{path} does not belong to the {CONFIG_FILE} beside it") from error
