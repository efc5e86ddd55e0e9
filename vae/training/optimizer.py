"""The optimisers by name."""

import torch
from torch import nn

from vae.config import TrainingConfig


def build_optimizer(model: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a config; the training loop sets its learning rate before each step."""
    parameters, rate, decay = list(model.parameters()), training.learning_rate, training.weight_decay
    match training.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, rate, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(parameters, rate, weight_decay=decay, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, rate, weight_decay=decay)
        case _:
            return torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=decay, fused=True)
