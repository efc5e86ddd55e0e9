"""One study from plan to result: checks at the door, the run directory, Tune's search, `study.json`."""

import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray.tune import (
    CheckpointConfig,
    FailureConfig,
    RunConfig,
    TuneConfig,
    Tuner,
    with_parameters,
    with_resources,
)
from ray.tune.experiment import Trial
from ray.tune.logger import JsonLoggerCallback, TBXLoggerCallback
from rich.console import Console

from evaluation.run_directory import RunDirectory
from tune.cluster import trial_resources
from tune.interruption import Interruption
from tune.objective import Objective, choose_objective
from tune.outcome import COMPLETED, ERROR, INTERRUPTED
from tune.progress import Progress
from tune.provenance import code_version, hardware, versions
from tune.recorder import Recorder
from tune.scheduler import Asha
from tune.searcher import OptunaSearcher, create_study, make_sampler
from tune.space import Space
from tune.trainable import train_trial
from tune.trial_data import TrialData
from vae.atomic import write_text
from vae.data import Dataset, load_dataset
from vae.errors import StorageError, UserError

logger = logging.getLogger(__name__)

# A worker that was killed or lost its node comes back from its last checkpoint; a bad config fails thrice.
MAX_FAILURES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a search is asked for; None means: as the data or the cluster suggests."""

    dataset: str
    data_dir: Path | None
    name: str | None
    storage: Path
    trials: int
    max_epochs: int
    grace_period: int
    reduction_factor: float
    space: Space
    objective: str | None
    sampler: str
    seed: int
    finalists: int
    cpus_per_trial: float | None
    gpus_per_trial: float | None
    max_concurrent: int | None
    time_budget_s: float | None

    def arguments(self) -> dict[str, Any]:
        """Return the plan as JSON values; the space has its own place in `study.json`."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "space"}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


@dataclass(slots=True)
class Study:
    """A study that is about to run: its data, its directory and its record, which `save` writes."""

    plan: Plan
    run: RunDirectory
    objective: Objective
    data: TrialData
    record: dict[str, Any]
    started: bool = False
    trials: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the `trials` table, once the search has ended."""

    def save(self, **changes: Any) -> None:
        """Update the record and write `study.json` so that a reader never sees half of it."""
        self.record |= changes
        write_text(json.dumps(self.record, indent=2) + "\n", self.run.study_file)

    @property
    def best(self) -> dict[str, Any] | None:
        """The completed trial with the best objective, the first finalist."""
        return self.objective.best(row for row in self.trials if row["status"] == COMPLETED)


@contextmanager
def new_study(plan: Plan) -> Iterator[Study]:
    """Check a plan against its data and make its run directory, removed again unless trials were started.

    Raises
    ------
    UserError
        Something asked for cannot be done.
    StorageError
        The data cannot be read, or the run directory not written.
    """
    choose_objective(plan.objective, labelled=True, searched=plan.space.searched)  # before a download
    dataset = load_dataset(plan.dataset, plan.data_dir)
    labelled = dataset.train.labels is not None
    objective = choose_objective(plan.objective, labelled=labelled, searched=plan.space.searched)
    data = TrialData.from_dataset(dataset, seed=plan.seed)
    plan.space.check_fit(dataset.train.image_shape, len(data.train_images))
    name = plan.name or f"{dataset.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    run, made = _new_directory(plan.storage, name)
    study = Study(plan, run, objective, data, _record(plan, name, objective, dataset, data))
    try:
        study.save()
        yield study
    finally:
        if not study.started:
            shutil.rmtree(run.path, ignore_errors=True)
            _remove(made)


def run_search(study: Study, console: Console, interruption: Interruption) -> None:
    """Run the trials of a study on the connected cluster; its files are complete however that ends."""
    plan, run, objective = study.plan, study.run, study.objective
    resources = trial_resources(plan.cpus_per_trial, plan.gpus_per_trial, plan.max_concurrent, plan.trials)
    scheduler = Asha(
        objective,
        max_epochs=plan.max_epochs,
        grace_period=plan.grace_period,
        reduction_factor=plan.reduction_factor,
    )
    optuna_study = create_study(
        run.journal_file, run.path.name, objective, make_sampler(plan.sampler, plan.seed)
    )
    searcher = OptunaSearcher(
        optuna_study, plan.space, objective, max_epochs=plan.max_epochs, seed=plan.seed, n_trials=plan.trials
    )
    recorder = Recorder(run, objective, max_epochs=plan.max_epochs)
    progress = Progress(recorder, n_trials=plan.trials, console=console)
    trainable = with_parameters(
        train_trial, data=study.data, objective=objective, n_threads=resources.n_threads
    )
    tuner = Tuner(
        with_resources(trainable, {"cpu": resources.cpus, "gpu": resources.gpus}),
        tune_config=TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=plan.trials,
            max_concurrent_trials=resources.slots,  # or only one would be pending, whatever is free
            reuse_actors=True,  # a process for each trial costs seconds
            trial_name_creator=_trial_id,
            trial_dirname_creator=_trial_id,
        ),
        run_config=RunConfig(
            name=run.ray_dir.name,
            storage_path=str(run.path),
            callbacks=[JsonLoggerCallback(), TBXLoggerCallback(), interruption, recorder, progress],
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            verbose=0,
        ),
    )
    begun, finished = time.perf_counter(), False

    def save() -> None:
        interrupted = interruption.reason == INTERRUPTED
        status = "interrupted" if interrupted else "completed" if finished else "failed"
        seconds = time.perf_counter() - begun
        study.trials = list(recorder.trials.values())
        train_seconds = sum(row["train_seconds"] for row in study.trials)
        study.record["timings"] |= {
            "search_s": seconds,
            "train_s": train_seconds,
            # The share of the slots' time that went into epochs, rather than starting, saving and waiting.
            "occupancy": train_seconds / (seconds * resources.slots),
        }
        study.save(status=status, finished_at=_now(), resources=asdict(resources))

    study.started = True
    with ExitStack() as at_end:  # runs each of these, last first, whatever another one raises
        at_end.callback(save)
        at_end.callback(lambda: recorder.finish(interruption.reason or ERROR))
        at_end.callback(lambda: searcher.close(interruption.reason or ERROR))
        with interruption.catching_signals(), progress:
            tuner.fit()
        finished = True


def _new_directory(storage: Path, name: str) -> tuple[RunDirectory, list[Path]]:
    """Make a run directory; also returns the directories that this took, innermost first."""
    if not name or name != Path(name).name or name.startswith("."):
        raise UserError(f"the name of a run must be a plain directory name, got '{name}'")
    run = RunDirectory(storage / name)
    made: list[Path] = []
    try:
        if run.path.exists():
            raise UserError(f"there is a run named '{name}' in {storage} already; choose another --name")
        made = [path for path in (run.path, *run.path.parents) if not path.exists()]
        run.path.mkdir(parents=True)
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


def _record(plan: Plan, name: str, objective: Objective, dataset: Dataset, data: TrialData) -> dict[str, Any]:
    return {
        "name": name,
        "status": "running",
        "created_at": _now(),
        "finished_at": None,
        "arguments": plan.arguments(),
        "dataset": {
            "name": dataset.name,
            # What `load_dataset` takes, wherever the evaluation is called from.
            "path": str(Path(plan.dataset).expanduser().absolute())
            if Path(plan.dataset).exists()
            else plan.dataset,
            "data_dir": None if plan.data_dir is None else str(plan.data_dir.expanduser().absolute()),
            "fingerprint": dataset.fingerprint,
        },
        "seed": plan.seed,
        "objective": [objective.name],
        "mode": objective.mode,
        "max_epochs": plan.max_epochs,
        "space": plan.space.source,
        "finalists": plan.finalists,
        "knn_references": len(data.reference_index),
        "code": code_version(),
        "versions": versions(),
        "hardware": hardware(),
        "timings": {},
    }


def _trial_id(trial: Trial) -> str:
    return str(trial.config["trial_id"])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
