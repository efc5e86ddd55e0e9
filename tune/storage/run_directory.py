"""Where everything of a study lies: the only place that spells the names of a run directory."""

from dataclasses import dataclass
from pathlib import Path

from tune.storage.filesystems import is_uri
from tune.storage.mirror import Mirror
from tune.storage.study_record import StudyRecord
from vae.errors import StorageError, UsageError


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
    def resolve(cls, location: str | Path) -> "RunDirectory":
        """Return the run directory at a path, or under a URI with its tables and records, if it is there.

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
        run.fetch(run.path)
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

    @property
    def study_file(self) -> Path:
        return self.path / "study.json"

    @property
    def images_file(self) -> Path:
        """Images that a search was given as arrays."""
        return self.path / "images.npz"

    @property
    def trials_file(self) -> Path:
        return self.path / "trials.parquet"

    @property
    def epochs_file(self) -> Path:
        return self.path / "epochs.parquet"

    @property
    def finalist_seeds_file(self) -> Path:
        return self.path / "finalist_seeds.parquet"

    @property
    def evaluations_file(self) -> Path:
        return self.path / "evaluations.parquet"

    @property
    def predictions_file(self) -> Path:
        return self.path / "predictions.parquet"

    @property
    def evaluation_file(self) -> Path:
        return self.path / "evaluation.json"

    @property
    def cache_dir(self) -> Path:
        return self.path / ".evaluated"

    @property
    def embeddings_dir(self) -> Path:
        return self.path / "embeddings"

    @property
    def checkpoints_dir(self) -> Path:
        return self.path / "checkpoints"

    @property
    def figures_dir(self) -> Path:
        return self.path / "figures"

    @property
    def report_file(self) -> Path:
        return self.path / "report.html"

    @property
    def projector_dir(self) -> Path:
        return self.path / "projector"

    @property
    def atlas_file(self) -> Path:
        return self.path / "atlas.parquet"

    @property
    def journal_file(self) -> Path:
        return self.path / "optuna.journal"

    @property
    def ray_dir(self) -> Path:
        return self.path / "ray"

    @property
    def lock_file(self) -> Path:
        return self.path / ".lock"

    @property
    def driver_file(self) -> Path:
        """Locked while a driver is at work, see `tune.storage.lock.is_held`."""
        return self.path / ".driver"

    @property
    def evaluation_lock_file(self) -> Path:
        return self.path / ".evaluation.lock"

    def checkpoint_dir(self, trial_id: str) -> Path:
        """Return where the model of a trial lies; see `check_trial_id` for the error."""
        check_trial_id(trial_id)
        return self.checkpoints_dir / trial_id

    def seed_checkpoint_dir(self, trial_id: str, seed: int) -> Path:
        return self.checkpoint_dir(trial_id) / "seeds" / str(seed)

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
