"""The study that a driver works on: its plan checked against the data, its run directory, lock and record."""

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from tune.algorithms.budget import Budget
from tune.algorithms.ending import Ending
from tune.algorithms.objective import Objective, check_target, choose_objectives
from tune.cluster.resources import GPUS_PER_TRIAL, TrialResources, trial_resources
from tune.space.file import default_space, load_space, without_start
from tune.storage.filesystems import check_writable, is_uri, join
from tune.storage.lock import driver_lock
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import DatasetRecord, StudyRecord, StudyStatus
from tune.storage.trial_status import StopReason, TrialStatus
from tune.study.images import load_images
from tune.study.plan import Plan
from tune.study.provenance import code_version, hardware, versions
from tune.study.warm_start import warm_start
from tune.trials.data import TrialData
from vae.atomic import write_text
from vae.data import Dataset, Images, dataset_from_arrays, load_dataset, save_arrays
from vae.errors import StorageError, UsageError, notes_kept_back


@dataclass(slots=True)
class StudySession:
    """What a driver holds while it works on a study; `save` writes its record."""

    plan: Plan
    run: RunDirectory
    objectives: tuple[Objective, ...]
    data: TrialData
    budget: Budget
    record: StudyRecord
    started: bool = False
    """Whether this session has begun its search: until then nothing of the study has changed."""
    trials: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the `trials` table, once the search has ended."""
    ending: Ending | None = None
    """Why the search has ended before its last trial, if it has."""

    def save(self, **changes: Any) -> None:
        """Update the record and write `study.json`."""
        for name, value in changes.items():
            setattr(self.record, name, value)
        self.record.write(self.run.study_file)
        self.run.push()

    def end(self, status: StudyStatus) -> None:
        """Say how this session ended."""
        self.record.sessions[-1] |= {"finished_at": _now(), "status": status}
        self.run.push(logs=True)
        self.save(status=status, finished_at=_now())

    def resources(self, n_runs: int) -> TrialResources:
        """Fit so many trainings into the connected cluster; see `trial_resources` for the errors."""
        return trial_resources(
            self.plan.cpus_per_trial,
            self.plan.gpus_per_trial,
            self.plan.max_concurrent,
            n_runs,
            gpu_share=self.record.profile.get("gpus_per_trial", GPUS_PER_TRIAL),
        )

    @property
    def best(self) -> dict[str, Any] | None:
        """The completed trial with the best first objective."""
        return self.objectives[0].best(row for row in self.trials if row["status"] == TrialStatus.COMPLETED)

    @property
    def n_lost(self) -> int:
        """How many trials have not ended, although nobody has interrupted them."""
        return sum(row["stop_reason"] == StopReason.INTERRUPTED for row in self.trials)

    @property
    def n_images(self) -> int:
        """How many images the trials have seen in training."""
        return sum(row["images"] or 0 for row in self.trials)


class _UnwrittenSession(StudySession):
    """A session whose record is in memory alone."""

    def save(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self.record, name, value)


@contextmanager
def create_study(
    plan: Plan, arrays: tuple[Images, ArrayLike | None] | None = None, *, written: bool = True
) -> Iterator[StudySession]:
    """Check a plan against its data and make its run directory, removed again unless trials were started.

    Parameters
    ----------
    plan
        What is searched.
    arrays
        Images and their labels, which the run directory keeps; None: they are what the plan names.
    written
        False for a study that is there in memory alone, without a run directory.

    Raises
    ------
    UsageError
        Something asked for cannot be done.
    StorageError
        The data cannot be read, or the run directory not written.
    """
    searched = plan.space.searched
    choose_objectives(plan.objectives, labelled=True, searched=searched)  # before a download
    if written and is_uri(plan.storage):
        check_writable(str(plan.storage))
    with notes_kept_back():
        if arrays:
            dataset = dataset_from_arrays(*arrays, resize=plan.resize)
        else:
            dataset = load_dataset(plan.dataset, plan.data_dir, resize=plan.resize)
        labelled = dataset.train.labels is not None
        objectives = choose_objectives(plan.objectives, labelled=labelled, searched=searched)
        check_target(plan.target, objectives[0])
        data = TrialData.from_dataset(dataset, seed=plan.seed)
        if plan.space.source == load_space().source:
            plan = replace(plan, space=default_space(len(data.train_images)))
        plan.space.check_fit(dataset.train.image_shape, len(data.train_images), dataset.train.n_classes)
    if not plan.start:
        plan = replace(plan, space=without_start(plan.space))
    if plan.warm_start:
        plan = replace(plan, space=warm_start(plan.space, RunDirectory.open(plan.warm_start)))
    budget = plan.choose_budget(len(data.train_images))
    name = plan.name or f"{dataset.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    if not written:
        record = _record(plan, name, objectives, dataset, data, budget)
        yield _UnwrittenSession(plan, RunDirectory(Path(name)), objectives, data, budget, record)
        return
    run, made = _new_directory(plan.storage, name)
    record = _record(plan, name, objectives, dataset, data, budget)
    session = StudySession(plan, run, objectives, data, budget, record)
    try:
        if arrays is not None:
            save_arrays(run.images_file, *arrays, resize=plan.resize)
            session.record.dataset.path = run.location_of(run.images_file)
        with driver_lock(run), _removed_unless_started(session), _at_work(session):
            yield session
    finally:
        if not session.started:
            shutil.rmtree(run.path, ignore_errors=True)
            _remove(made)


@contextmanager
def _removed_unless_started(session: StudySession) -> Iterator[None]:
    """Leave nothing of a study without trials under a URI, as long as it is certain that it is ours."""
    try:
        yield
    finally:
        if session.run.mirror and not session.started:
            session.run.mirror.delete(session.run.path)


@contextmanager
def open_study(run: RunDirectory, *, extension: bool = False, **changes: Any) -> Iterator[StudySession]:
    """Open an existing study for further work, with the plan of its record but for ``changes``.

    An ``extension`` adds to what is finished, else this is what remained to be done.

    If this session ends before its search begins, its record stays what it was.

    Raises
    ------
    UsageError
        Another driver is at work on it, or its images are not what they were.
    StorageError
        A file of the run directory cannot be read.
    """
    with driver_lock(run):
        if run.mirror:  # what the last driver has written until it let go
            run.mirror.fetch(run.path, again=True)
        before, record = _text(run.study_file), run.read_study()
        plan = replace(Plan.from_record(record), **changes)
        if changes.get("data_dir"):
            record.dataset.data_dir = str(Path(changes["data_dir"]).expanduser().absolute())
        dataset = load_images(run, record.dataset)
        # Whether they suit the space was decided at the start, perhaps by an older version with fewer rules.
        objectives = choose_objectives(
            plan.objectives, labelled=dataset.train.labels is not None, searched=frozenset()
        )
        check_target(plan.target, objectives[0])
        data = TrialData.from_dataset(dataset, seed=plan.seed)
        budget = plan.choose_budget(len(data.train_images))
        session = StudySession(plan, run, objectives, data, budget, record)
        if record.status.is_final and record.sessions:  # an older version did not say it
            record.sessions[-1].setdefault("max_epochs", record.max_epochs)
        record.arguments = plan.arguments(budget)
        record.dataset.n_train = budget.n_train
        if extension:
            record.extended_at = datetime.now(UTC).isoformat()
        with _at_work(session, before):
            yield session


@contextmanager
def _at_work(session: StudySession, before: str | None = None) -> Iterator[None]:
    """Keep the record of this session, also if it ends badly.

    ``before`` is what `study.json` has held; it comes back if the search does not begin.
    """
    session.record.sessions.append(
        {
            "started_at": _now(),
            "finished_at": None,
            "status": StudyStatus.RUNNING,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "code": code_version(),
            "max_epochs": session.budget.max_epochs,
        }
    )
    session.save(status=StudyStatus.RUNNING, finished_at=None, end_reason=None)
    try:
        yield
    except BaseException as error:
        if before is not None and not session.started:
            write_text(before, session.run.study_file)
            session.run.push()
        else:
            interrupted = isinstance(error, KeyboardInterrupt)
            session.end(StudyStatus.INTERRUPTED if interrupted else StudyStatus.FAILED)
        raise


def _new_directory(storage: str | Path, name: str) -> tuple[RunDirectory, list[Path]]:
    """Make a run directory; also returns the directories that this took, innermost first."""
    if not name or name != Path(name).name or name.startswith("."):
        raise UsageError(f"the name of a run must be a plain directory name, got '{name}'")
    run = RunDirectory.resolve(join(storage, name))
    made: list[Path] = []
    try:
        if run.exists():
            raise UsageError(f"there is a run named '{name}' in {storage} already; choose another --name")
        made = [path for path in (run.path, *run.path.parents) if not path.exists()]
        run.path.mkdir(parents=True, exist_ok=run.mirror is not None)
    except OSError as error:
        _remove(made)
        raise StorageError(f"cannot create {run.path}: {error.strerror}; choose another --storage") from error
    return run, made


def _remove(directories: list[Path]) -> None:
    """Remove those directories, innermost first, that are empty."""
    for directory in directories:
        try:
            directory.rmdir()
        except OSError:
            continue


def _record(
    plan: Plan,
    name: str,
    objectives: Sequence[Objective],
    dataset: Dataset,
    data: TrialData,
    budget: Budget,
) -> StudyRecord:
    return StudyRecord(
        name=name,
        created_at=_now(),
        arguments=plan.arguments(budget),
        dataset=DatasetRecord(
            name=dataset.name,
            # What `load_dataset` takes, wherever the evaluation is called from.
            path=str(Path(plan.dataset).expanduser().absolute())
            if Path(plan.dataset).exists()
            else plan.dataset,
            data_dir=None if plan.data_dir is None else str(plan.data_dir.expanduser().absolute()),
            fingerprint=dataset.fingerprint,
            n_train=len(data.train_images),
            n_test=len(dataset.test),
            resize=dataset.resize,
        ),
        objectives=[objective.name for objective in objectives],
        modes=[objective.mode for objective in objectives],
        space=plan.space.source,
        n_warm=plan.space.n_warm,
        knn_references=len(data.reference_index),
        knn_queries=len(data.query_index),
        code=code_version(),
        versions=versions(),
        hardware=hardware(),
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot read {file}: {error}") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
