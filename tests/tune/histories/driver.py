"""One run of Tune over the real parts of a search, and the moment at which it dies."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from tests.tune.conftest import KNN, FakeTrial
from tune.algorithms import journal
from tune.algorithms.objective import Objective
from tune.callbacks.failures import FailureTracker
from tune.callbacks.recorder import Recorder
from tune.restore import open_search
from tune.trials.checkpoints import new_session_dir

MSE = Objective("val_mse", "min")


class Killed(BaseException):
    """What stands for SIGKILL."""


class Fuse:
    """Kills at one of the next writes, which a journal may have begun."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def guard(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(source: Any, target: Any) -> None:
            if ".lock" not in str(source):  # of the journal, whose writes burn the fuse themselves
                self.burn()
            write(source, target)

        return guarded

    def append_logs(self, backend: JournalFileBackend, logs: list[Any]) -> None:
        try:
            self.burn()
        except Killed:
            with open(backend._file_path, "ab") as file:
                file.write(b'{"op_code":4,"worker_')
            raise
        APPEND_LOGS(backend, logs)


APPEND_LOGS = JournalFileBackend.append_logs


def real_state(study: Any, tables: Any) -> list[dict[str, Any]]:
    """What the journal and the tables say, by number."""
    rows = sorted(tables.trials.values(), key=lambda row: row["number"])
    proposed = journal.proposed_trials(study)
    assert [row["number"] for row in rows] == list(range(len(rows)))
    assert [row["trial_id"] for row in rows] == [trial.user_attrs["trial_id"] for trial in proposed]
    return [
        {
            "state": trial.state.name,
            "curve": dict(sorted(journal.curve(trial).items())),
            "values": trial.values,
            "row": (str(row["status"]), row["stop_reason"]),
            "objective": row["objective"],
            "best_epoch": row["best_epoch"],
            "seen": (row["images"], row["epochs"]),
            "cutoff": (row["rung"], row["cutoff"]),
            "reports": {
                at: report[KNN.name if tables.objective == KNN else MSE.name]
                for at, report in sorted(tables.epochs.get(row["trial_id"], {}).items())
            },
        }
        for trial, row in zip(proposed, rows, strict=True)
    ]


class Driver:
    """One run of Tune over the real parts of a search, as far as they can see it."""

    def __init__(self, session: Any, failures: FailureTracker) -> None:
        self.failures = failures
        self.search = open_search(session, failures)
        searcher, scheduler = self.search.searcher, self.search.scheduler
        self.recorder = Recorder(
            self.search.tables, failures, tell=searcher.tell, cutoff_of=scheduler.cutoff_of, clock=lambda: 0.0
        )
        proposed = len(journal.proposed_trials(self.search.optuna_study))
        self.n_samples = len(self.search.unfinished) + session.plan.trials - proposed
        self.directory = new_session_dir(session.run)
        self.directory.mkdir(parents=True)
        self.trials: list[FakeTrial] = []  # those that have not ended
        self.checkpoints: dict[int, Path | None] = {}  # what Tune would restore, by number

    def ask(self) -> FakeTrial:
        ray_id = f"ray-{self.n_samples}"
        config = self.search.searcher.suggest(ray_id)
        assert isinstance(config, dict), "fewer trials than were asked for"
        self.n_samples -= 1
        trial = FakeTrial(ray_id, config, status="PENDING", pickled_error_file=f"{self.directory}/error.pkl")
        self.trials.append(trial)
        self.checkpoints[config["number"]] = config["resume_from"] and Path(config["resume_from"])
        self.step_end()
        return trial

    def start(self, trial: FakeTrial) -> None:
        trial.status = "RUNNING"
        self.failures.on_trial_start(0, self.trials, trial)
        self.recorder.on_trial_start(0, self.trials, trial)
        self.step_end()

    def result(self, trial: FakeTrial, result: dict[str, Any], checkpoint: Path | None) -> None:
        search, stopped = self.search, False
        if search.scheduler.on_trial_result(None, trial, result) == "STOP":
            stopped = True
        else:
            search.searcher.on_trial_result(trial.trial_id, result)
        self.failures.on_trial_result(0, self.trials, trial, result)
        self.recorder.on_trial_result(0, self.trials, trial, result)
        trial.last_result = result
        if checkpoint is not None:
            old = self.checkpoints[trial.config["number"]]
            if old is not None and old.parent.parent == self.directory:  # KeepLatestCheckpoint
                shutil.rmtree(old)
            self.checkpoints[trial.config["number"]] = checkpoint
        if stopped:
            search.searcher.on_trial_complete(trial.trial_id, result=result)
            self.recorder.on_trial_complete(0, self.trials, trial)
            self.trials.remove(trial)
        self.step_end()

    def fail(self, trial: FakeTrial, error: Exception) -> None:
        """What `TuneController._process_trial_failure` does."""
        search = self.search
        Path(trial.pickled_error_file).write_bytes(pickle.dumps(error))
        trial.run_metadata.num_failures += 1
        if trial.status == "RUNNING" and trial.run_metadata.num_failures <= trial.max_failures:
            trial.status = "ERROR"
            search.scheduler.on_trial_error(None, trial)
            trial.status = "PENDING"
            self.recorder.on_trial_recover(0, self.trials, trial)
        else:
            search.scheduler.on_trial_error(None, trial)
            search.searcher.on_trial_complete(trial.trial_id, error=True)
            trial.status = "ERROR"
            self.trials.remove(trial)
            self.recorder.on_trial_error(0, self.trials, trial)
        self.step_end()

    def step_end(self) -> None:
        self.recorder.on_step_end(0, self.trials)

    def finish(self) -> None:
        self.search.searcher.close()
        self.search.tables.finish("interrupted")
