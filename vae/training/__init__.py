"""How a VAE is trained: the loop, optimisers, schedules, augmentation, the state to resume from, logs."""

from vae.training.best_model import BestModel
from vae.training.loop import Report, TrainResult, train
from vae.training.state import TrainingState, load_state

__all__ = ["BestModel", "Report", "TrainResult", "TrainingState", "load_state", "train"]
