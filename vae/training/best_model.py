"""The best model of a training so far, on disk."""

from collections.abc import Callable
from math import isfinite
from pathlib import Path

from vae.checkpoint import is_whole, read_metrics, save_model
from vae.training.loop import Report


def is_lower(value: float, than: float | None) -> bool:
    """Whether ``value`` is finite and below the best so far, which is None before the first."""
    return isfinite(value) and (than is None or value < than)


def is_finite(value: float, than: float | None) -> bool:
    """Whether ``value`` is finite, however good the one before: what keeps the last one."""
    return isfinite(value)


class BestModel:
    """Keeps the model of the best report in a directory, a checkpoint that `vae.load` reads.

    Quick looks keep none: their values do not compare with those of all validation images.

    Parameters
    ----------
    directory
        Made with the first model.
    metric
        Name of the metric that decides, one of those in `Report.metrics`.
    better
        Whether a value beats the best so far (None: there is none yet); `is_lower` by default. Must be False
        for a value that is not finite.
    split_seed
        Seed of the validation split, noted in the checkpoint.
    dataset
        Fingerprint of the data set, noted in the checkpoint.
    resize
        What its images were resized to, noted in the checkpoint.
    resume
        Whether a model in the directory, of the training that is resumed, remains until a report is better.
    """

    def __init__(
        self,
        directory: Path,
        metric: str = "val_loss",
        better: Callable[[float, float | None], bool] = is_lower,
        *,
        split_seed: int | None = None,
        dataset: str | None = None,
        resize: int | None = None,
        resume: bool = False,
    ) -> None:
        self.directory = directory
        self.metric = metric
        self.split_seed = split_seed
        self.dataset = dataset
        self.resize = resize
        self.epoch: float | None = None
        """Of the best report since the start or the resumption; None if there was none."""
        self._better = better
        self._value = read_metrics(directory).get(metric) if resume and is_whole(directory) else None

    def update(self, report: Report) -> bool:
        """Save the model if it is the best so far, and return whether it is; a diverged one never is.

        Raises
        ------
        StorageError
            The directory cannot be written.
        """
        value = report.metrics[self.metric]
        if report.quick or report.stop_reason or not self._better(value, self._value):
            return False
        self._value, self.epoch = value, report.epoch
        save_model(
            self.directory,
            report.state.model,
            report.state.config,
            epoch=report.epoch,
            metrics=report.metrics,
            split_seed=self.split_seed,
            dataset=self.dataset,
            resize=self.resize,
        )
        return True
