"""The state of a training run: what is needed to resume after a report, in one atomically written file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae.checkpoint import load_weights, read_config, read_tensors, rebuild_model, write_config, write_tensors
from vae.config import Config
from vae.errors import StorageError
from vae.losses.balance import Balance
from vae.models import VAE
from vae.training.optimizer import build_optimizer

STATE_FILE = "training.safetensors"


class TrainingState:
    """A model, its optimiser and how far its training is.

    The order of an epoch's images follows from the seed and the epoch's number; within an epoch the generator
    has moved on, and its state is kept.
    """

    def __init__(self, config: Config, model: VAE, epoch: int = 0, dataset: str | None = None) -> None:
        self.config = config
        self.model = model
        self.optimizer = build_optimizer(model, config.training)
        self.balance = Balance(device=next(model.parameters()).device)
        self.epoch = epoch
        """Epochs that are done."""
        self.step = 0
        """Steps of the next epoch that are done."""
        self.images: int | None = None
        """Images seen until the last report; None: as many as those epochs have."""
        self.generator_state: Tensor | None = None
        """Of the epoch that has begun; None between two epochs."""
        self.dataset = dataset
        """Fingerprint of the data set; None if the caller did not set it."""
        self.resize: int | None = None
        """What its images were resized to; None if they were not, or the caller did not set it."""

    def save(self, directory: Path) -> None:
        """Write the state into a directory, made if need be; an older state there is replaced in one step.

        Raises
        ------
        StorageError
            The directory cannot be written.
        """
        tensors: dict[str, Tensor] = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            for name, value in slots.items():
                if value is not None:  # SGD without momentum
                    tensors[f"optimizer.{index}.{name}"] = value
        tensors["balance"] = self.balance.means
        if self.generator_state is not None:
            tensors["generator"] = self.generator_state
        write_config(directory, self.config, self.model.image_shape, self.model.n_classes, self.resize)
        header = {name: getattr(self, name) for name in ("epoch", "step", "images", "dataset")}
        write_tensors(directory / STATE_FILE, tensors, header)


def load_state(directory: Path, config: Config, device: str | torch.device = "cpu") -> TrainingState:
    """Rebuild the state that `TrainingState.save` wrote.

    ``max_epochs`` may have grown since, see `Config.continued`; all else must be the same.

    Raises
    ------
    StorageError
        The directory holds no state, a damaged one, or one of another config.
    """
    saved = read_config(directory)
    config = _continued(saved.config, config, directory)
    tensors, header = read_tensors(directory / STATE_FILE, device)
    model = rebuild_model(replace(saved, config=config), directory).to(device)
    load_weights(model, _under("model.", tensors), directory / STATE_FILE)
    if not isinstance(header.get("epoch"), int | float):
        raise StorageError(f"{directory / STATE_FILE} does not say after how many epochs it was written")
    state = TrainingState(config, model, epoch=header["epoch"], dataset=header.get("dataset"))
    state.step, state.images = header.get("step", 0), header.get("images")
    state.resize = saved.resize
    if "generator" in tensors:
        state.generator_state = tensors["generator"].cpu()
    if "balance" in tensors:
        state.balance = Balance(tensors["balance"])
    slots: dict[int, dict[str, Any]] = {}
    for key, value in _under("optimizer.", tensors).items():
        index, name = key.split(".", 1)
        slots.setdefault(int(index), {})[name] = value
    groups = state.optimizer.state_dict()["param_groups"]  # from the config; the rate is set before each step
    state.optimizer.load_state_dict({"state": slots, "param_groups": groups})
    _lay_out_like_parameters(state.optimizer)
    return state


def _lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give each moment the memory layout of its parameter: files are contiguous, models channels-last.

    The fused kernels walk parameter and moments by memory on the CPU, and refuse unlike ones on a GPU.
    """
    for parameter, slots in optimizer.state.items():
        for name, value in slots.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                slots[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _continued(saved: Config, config: Config, directory: Path) -> Config:
    """Return the config of a continued training; a StorageError if it is not that of the saved one."""
    training = config.training
    if training.schedule_epochs == (training.max_epochs,):  # as it is by default
        continued = saved.continued(training.max_epochs).training
        config = replace(config, training=replace(training, schedule_epochs=continued.schedule_epochs))
    old, new = saved.to_params(), config.to_params() | {"max_epochs": saved.training.max_epochs}
    for name, value in old.items():
        same = new[name][: len(value)] == value if name == "schedule_epochs" else new[name] == value
        if not same:
            raise StorageError(
                f"{directory} was trained with {name} {value!r}, got {new[name]!r}; they must agree"
            )
    return config
