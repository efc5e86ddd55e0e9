"""Where everything of a study lies: the only place that spells the names of a run directory."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from tune.storage.filesystems import is_uri
from tune.storage.mirror import Mirror
from tune.storage.study_record import StudyRecord
from vae.errors import StorageError, UsageError


class _Inside:
    """A property of a run directory: the path of something in it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: "RunDirectory", owner: type | None = None) -> Path:
        return run.path / self.name


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One study on disk; docs/results.md says what each file holds.

    Of one under a URI, ``path`` is this command's own directory for it, which `fetch` fills and `push` sends.
    """

    path: Path
    mirror: Mirror | None = None

    def __post_init__(self) -> None:
        # Ray's workers and trials have other working directories.
        object.__setattr__(self, "path", Path(self.path).expanduser().absolute())

    @classmethod
    def resolve(cls, location: str | Path, *, names: Container[str] | None = None) -> "RunDirectory":
        """Return the run directory at a path, or under a URI with its tables and records, if it is there.

        With ``names`` no other files are fetched from the URI.

        Raises
        ------
        UsageError
            The URI is none that pyarrow knows.
        StorageError
            What is under it cannot be read.
        """
        if not is_uri(location):
            return cls(Path(location))
        mirror = Mirror(str(location))
        run = cls(mirror.directory, mirror)
        mirror.fetch(run.path, names=names)
        return run

    @classmethod
    def open(cls, location: str | Path) -> "RunDirectory":
        """Return an existing run directory.

        Raises
        ------
        UsageError
            There is nothing at ``location``, or what is there is not a run directory.
        StorageError
            What is under a URI cannot be read.
        """
        run = cls.resolve(location)
        if run.study_file.is_file():
            return run
        if run.exists():
            raise UsageError(f"{location} is not a run directory: it has no {run.study_file.name}")
        raise UsageError(f"no run directory at {location}; `python -m tune search` makes one")

    def exists(self) -> bool:
        """Whether there is anything at its address."""
        return self.mirror.exists(self.path) if self.mirror else self.path.exists()

    @property
    def location(self) -> str:
        """Its path or, of a run under a URI, that URI."""
        return str(self.location_of(self.path))

    def location_of(self, path: Path) -> str:
        """Return the path of something in it or, of a run under a URI, its URI."""
        return str(path) if self.mirror is None else self.mirror.uri_of(path)

    def fetch(self, *paths: Path) -> None:
        """Make sure that folders of it are here: of a run under a URI, copy what is not."""
        if self.mirror:
            for path in paths:
                self.mirror.fetch(path)

    def push(self, *, logs: bool = False) -> None:
        """Make sure that what has been written is where others look for it: send it, if that is a URI.

        TensorBoard's logs, which change all the time, only if they are asked for.
        """
        if self.mirror:
            self.mirror.push(logs=logs)

    study_file = _Inside("study.json")
    images_file = _Inside("images.npz")
    """Images that a search was given as arrays."""
    trials_file = _Inside("trials.parquet")
    epochs_file = _Inside("epochs.parquet")
    finalist_seeds_file = _Inside("finalist_seeds.parquet")
    finalist_seeds_dir = _Inside("finalist_seeds")
    evaluations_file = _Inside("evaluations.parquet")
    predictions_file = _Inside("predictions.parquet")
    evaluation_file = _Inside("evaluation.json")
    cache_dir = _Inside(".evaluated")
    embeddings_dir = _Inside("embeddings")
    embeddings_state_file = _Inside("embeddings/_state.json")
    """Not `hidden`, or it would not be sent; readers of a folder of tables pass over such a name."""
    checkpoints_dir = _Inside("checkpoints")
    figures_dir = _Inside("figures")
    report_file = _Inside("report.html")
    projector_dir = _Inside("projector")
    atlas_file = _Inside("atlas.parquet")
    journal_file = _Inside("optuna.journal")
    ray_dir = _Inside("ray")
    lock_file = _Inside(".lock")
    driver_file = _Inside(".driver")
    """Locked while a driver is at work, see `tune.storage.lock.is_held`."""
    evaluation_lock_file = _Inside(".evaluation.lock")

    def checkpoint_dir(self, trial_id: str) -> Path:
        """Return where the model of a trial lies; see `check_trial_id` for the error."""
        check_trial_id(trial_id)
        return self.checkpoints_dir / trial_id

    def seed_checkpoint_dir(self, trial_id: str, seed: int) -> Path:
        """Return where a finalist's model of a fresh seed goes; where an older one lies, its row says.

        It is not below `checkpoint_dir`, which another model of the trial may replace.
        """
        check_trial_id(trial_id)
        return self.finalist_seeds_dir / trial_id / str(seed)

    def read_study(self) -> StudyRecord:
        """Return what ``study.json`` says.

        Raises
        ------
        StorageError
            The file is absent, unreadable or not that of a study.
        """
        return StudyRecord.read(self.study_file)


def check_trial_id(trial_id: str) -> None:
    """Refuse an id that leads out of the run directory, which somebody else may have filled.

    Raises
    ------
    StorageError
        It is not the name of a directory.
    """
    if trial_id in ("", ".", "..") or "/" in trial_id or "\0" in trial_id:
        raise StorageError(f"the id of a trial must be the name of a directory, got {trial_id!r}")
