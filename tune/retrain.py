"""Finalists retrained with fresh seeds: how good a configuration is, apart from one lucky run."""

import contextlib
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from tune.algorithms.budget import Budget
from tune.algorithms.objective import Objective
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import CONFIG_PREFIX, FINALIST_SEEDS, NEUTRAL_PANEL, read_table, write_table
from tune.storage.trial_status import StopReason, TrialStatus
from tune.study.ranking import has_model, is_of_state
from tune.study.session import StudySession
from tune.study.state import weights_hash
from tune.trials.data import TrialData
from tune.trials.errors import task_message
from tune.trials.trainable import reset_process, trial_device
from vae.atomic import write_directory
from vae.checkpoint import read_config
from vae.config import Config, epochs_text
from vae.errors import UsageError, is_out_of_memory
from vae.training.best_model import BestModel
from vae.training.loop import Report, train

MAX_RETRIES = 3
"""Of a training whose worker was killed; it starts over."""


def retrain_finalists(
    session: StudySession,
    trial_ids: Sequence[str],
    *,
    n_seeds: int,
    console: Console | None,
    seconds: float | None = None,
) -> int:
    """Train each finalist with fresh seeds, as Ray tasks on the connected cluster.

    Each training keeps the model of its best epoch in ``finalist_seeds/<trial_id>/<seed>/`` and is a row of
    ``finalist_seeds.parquet``, written as soon as it ends: another call trains only what is missing, what
    ended in an ``error``, what has lost its checkpoint and what was trained with another budget. One that
    fails is a row too and no exception.

    Parameters
    ----------
    session
        The study; the hyperparameters of a finalist come from its checkpoint.
    trial_ids
        The finalists, best first.
    n_seeds
        Fresh seeds for each finalist, see `fresh_seeds`; 0 does nothing.
    console
        Shows the progress; None is silent.
    seconds
        What is not done after that long is given up; another call trains it.

    Returns
    -------
    int
        How many trainings were given up.

    Raises
    ------
    UsageError
        ``n_seeds`` is negative.
    StorageError
        A finalist's checkpoint cannot be read, or the results not be written.
    """
    if n_seeds < 0:
        raise UsageError(f"the number of fresh seeds must be >= 0, got {n_seeds}")
    run, objective = session.run, session.objectives[0]
    rows = _known_rows(run)
    queue = _missing(session, rows, trial_ids, n_seeds)
    if not queue or (seconds is not None and seconds <= 0):
        return len(queue)
    resources = session.resources(len(trial_ids) * n_seeds)
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    train_task = ray.remote(_train).options(
        num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=MAX_RETRIES
    )
    data_ref = ray.put(session.data)
    running: dict[Any, _Job] = {}
    with _Progress(console, len(queue)) as progress, _cancelled_at_end(running):
        while queue or running:
            while queue and len(running) < resources.slots:
                job = queue.pop(0)
                task = train_task.remote(job.params, data_ref, objective, resources.n_threads, session.budget)
                running[task] = job
            wait_s = None if seconds is None else max(0.0, deadline - time.monotonic())
            done = ray.wait(list(running), timeout=wait_s)[0]
            if not done:
                return len(queue) + len(running)
            ready = done[0]
            row = {"study": session.record.name} | _collect(run, ready, running.pop(ready))
            rows[row["trial_id"], row["seed"]] = row
            write_table(list(rows.values()), FINALIST_SEEDS, run.finalist_seeds_file)
            run.push()
            progress.show(row, objective)
    return 0


def fresh_seeds(study_seed: int, number: int, n: int, *, own: int) -> list[int]:
    """Return ``n`` different seeds for one trial, none its own; fewer are the beginning of more."""
    seeds: list[int] = []
    replica = 0
    while len(seeds) < n:
        # A spawn key, because trailing zeros in the entropy change nothing: (s, n, 0) is the trial's (s, n).
        sequence = np.random.SeedSequence(study_seed, spawn_key=(number, replica))
        seed = int(sequence.generate_state(1)[0]) & 0x7FFF_FFFF
        if seed != own and seed not in seeds:
            seeds.append(seed)
        replica += 1
    return seeds


@dataclass(frozen=True, slots=True)
class _Job:
    """One training that is to be done."""

    trial_id: str
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Trained:
    """What comes back from a worker; the files travel with it, as its disk may be another node's."""

    columns: dict[str, Any]
    files: dict[str, bytes]


def _known_rows(run: RunDirectory) -> dict[tuple[str, int], dict[str, Any]]:
    path = run.finalist_seeds_file
    rows = read_table(path).to_pylist() if path.exists() else []
    return {(row["trial_id"], row["seed"]): dict.fromkeys(FINALIST_SEEDS.names) | row for row in rows}


def _missing(
    session: StudySession,
    rows: dict[tuple[str, int], dict[str, Any]],
    trial_ids: Sequence[str],
    n_seeds: int,
) -> list[_Job]:
    """Return what is still to be trained: the first seed of every finalist, then the second of every one…"""
    run, plan = session.run, session.plan
    columns = ["trial_id", "number", CONFIG_PREFIX + "schedule_epochs"]
    trials = {t["trial_id"]: t for t in read_table(run.trials_file).select(columns).to_pylist()}
    jobs = []
    for trial_id in trial_ids:
        config, trial = read_config(run.checkpoint_dir(trial_id)).config, trials[trial_id]
        own = config.training.seed
        # The kept model may be of an epoch before the budget grew: the table knows the whole schedule.
        budget = {
            "max_epochs": session.budget.max_epochs,
            "schedule_epochs": trial[CONFIG_PREFIX + "schedule_epochs"],
        }
        for place, seed in enumerate(fresh_seeds(plan.seed, trial["number"], n_seeds, own=own)):
            row = rows.get((trial_id, seed))
            if row is None or not is_of_state(run, row, session.budget.max_epochs) or not _is_done(run, row):
                jobs.append((place, _Job(trial_id, config.to_params() | budget | {"seed": seed})))
    return [job for _, job in sorted(jobs, key=lambda item: item[0])]


def _is_done(run: RunDirectory, row: dict[str, Any]) -> bool:
    if row["status"] == TrialStatus.COMPLETED:
        return has_model(run, row)
    return bool(row["stop_reason"] != StopReason.ERROR)


def _collect(run: RunDirectory, ref: Any, job: _Job) -> dict[str, Any]:
    """Return the row of a training that has ended, with its checkpoint in its place."""
    seed, columns = job.params["seed"], {}
    try:
        trained: _Trained = ray.get(ref)
    except Exception as error:  # whatever became of one seed, the others count
        out_of_memory = is_out_of_memory(error)
        columns = {
            "status": TrialStatus.FAILED,
            "stop_reason": StopReason.OUT_OF_MEMORY if out_of_memory else StopReason.ERROR,
            "error": task_message(error),
        }
    else:
        columns = trained.columns
        if trained.files:
            directory = run.seed_checkpoint_dir(job.trial_id, seed)
            write_directory(trained.files, directory)
            columns = columns | {"checkpoint": directory.relative_to(run.path).as_posix()}
    return {
        "trial_id": job.trial_id,
        "seed": seed,
        "max_epochs": job.params["max_epochs"],
        "trial_weights": weights_hash(run.checkpoint_dir(job.trial_id)),
        **columns,
    }


def _train(
    params: dict[str, Any], data: TrialData, objective: Objective, n_threads: int, budget: Budget
) -> _Trained:
    """Train one seed to the full budget, in a worker."""
    device = trial_device()
    reset_process(params["seed"], n_threads)
    with tempfile.TemporaryDirectory() as directory:
        best = BestModel(
            Path(directory),
            objective.name,
            objective.better,
            split_seed=data.split_seed,
            dataset=data.fingerprint,
            resize=data.resize,
        )

        reported: dict[float, dict[str, float]] = {}

        def keep_best(report: Report) -> bool:
            reported[report.epoch] = report.metrics
            best.update(report)
            return not math.isfinite(report.metrics[objective.name])

        try:
            result = train(
                Config.from_params(params),
                data.train(device),
                data.validation(device),
                device=device,
                knn=data.knn(device),
                on_report=keep_best,
                report_at=[at for at in budget.reports if at >= budget.quick_until],
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return _Trained({"status": TrialStatus.FAILED, "stop_reason": StopReason.OUT_OF_MEMORY}, {})
        files = {path.name: path.read_bytes() for path in Path(directory).iterdir()}
    columns: dict[str, Any] = {"train_seconds": sum(metrics["epoch_seconds"] for metrics in result.history)}
    if result.stop_reason or best.epoch is None:
        return _Trained(columns | {"status": TrialStatus.FAILED, "stop_reason": StopReason.NAN}, {})
    metrics = reported[best.epoch]
    columns |= {"objective": metrics[objective.name], "best_epoch": best.epoch}
    columns |= {name: metrics.get(name) for name in NEUTRAL_PANEL}
    return _Trained(columns | {"status": TrialStatus.COMPLETED}, files)


@contextlib.contextmanager
def _cancelled_at_end(running: dict[Any, _Job]) -> Iterator[None]:
    """Cancel the tasks if this process is interrupted: the cluster may outlive it."""
    try:
        yield
    finally:
        for ref in running:
            with contextlib.suppress(Exception):
                ray.cancel(ref, force=True)


class _Progress:
    """A bar on a terminal, a line for each seed elsewhere."""

    def __init__(self, console: Console | None, total: int) -> None:
        self.console = console
        self.total = total
        self.done = 0
        self.bar = RichProgress(
            TextColumn("fresh seeds"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            disable=console is None or not console.is_terminal,
            transient=True,
        )
        self.task = self.bar.add_task("", total=total)

    def __enter__(self) -> Self:
        self.bar.start()
        if self.console is not None and not self.console.is_terminal:
            trainings = "1 training" if self.total == 1 else f"{self.total} trainings"
            self.console.print(f"finalists with fresh seeds: {trainings}", highlight=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def show(self, row: dict[str, Any], objective: Objective) -> None:
        """Count a training that has ended."""
        self.done += 1
        what = f"{row['trial_id']} seed {row['seed']}"
        if row["status"] == TrialStatus.COMPLETED:
            what += f": {objective.name} {row['objective']:.4f} at epoch {epochs_text(row['best_epoch'])}"
        else:
            what += f" failed: {row['stop_reason']}"
        self.bar.update(self.task, advance=1, description=what)
        if self.console is not None and not self.console.is_terminal:
            self.console.print(f"{self.done}/{self.total} {what}", highlight=False)
