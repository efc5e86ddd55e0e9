"""The optimisers by name."""

import torch
from torch import nn

from vae.config import TrainingConfig


def build_optimizer(model: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a config; the training loop fills in its learning rate before each step."""
    parameters, decay = list(model.parameters()), training.weight_decay
    on_cpu = parameters[0].device.type == "cpu"
    # A tensor, so that a step can be captured: double for the kernels of a CPU, single for a GPU's.
    rate = torch.tensor(
        training.learning_rate, dtype=torch.float64 if on_cpu else torch.float32, device=parameters[0].device
    )
    match training.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, rate, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(parameters, rate, weight_decay=decay, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, rate, weight_decay=decay, capturable=not on_cpu)
        case _:
            return torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=decay, fused=True)
