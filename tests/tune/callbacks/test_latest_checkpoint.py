"""Which checkpoints of a trial stay."""

from dataclasses import dataclass
from pathlib import Path

from ray.tune import Checkpoint

from tune.callbacks.latest_checkpoint import KeepLatestCheckpoint


@dataclass
class SavedTrial:
    trial_id: str
    checkpoint: Checkpoint | None = None

    def save(self, directory: Path, number: int) -> None:
        path = directory / self.trial_id / f"checkpoint_{number:06d}"
        path.mkdir(parents=True)
        self.checkpoint = Checkpoint.from_directory(path)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("checkpoint_*"))


def test_of_each_trial_the_newest_stays(tmp_path):
    callback = KeepLatestCheckpoint()
    first, second = SavedTrial("a"), SavedTrial("b")
    for number in range(3):
        first.save(tmp_path, number)
        callback.on_trial_save(number, [], first)
    second.save(tmp_path, 0)
    callback.on_trial_save(3, [], second)
    assert names(tmp_path / "a") == ["checkpoint_000002"]
    assert names(tmp_path / "b") == ["checkpoint_000000"]


def test_the_same_checkpoint_again_or_none_deletes_nothing(tmp_path):
    callback, trial = KeepLatestCheckpoint(), SavedTrial("a")
    callback.on_trial_save(0, [], trial)
    trial.save(tmp_path, 0)
    for iteration in range(2):
        callback.on_trial_save(iteration, [], trial)
    assert names(tmp_path / "a") == ["checkpoint_000000"]
