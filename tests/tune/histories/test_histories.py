"""Random histories of a search, without Ray, beside a model of what its state must be after each step.

Searcher, scheduler, stopping rules, recorder, tables and journal are the real ones, called as Tune's
controller calls them. Workers are played: what a trial reports follows from its number and the images seen.
Any write to the disk may be the last one of a driver: then another one opens what is there, and must find the
state from before the step or the one after it.

`make histories` runs thousands of them.
"""

import contextlib
import logging
import math
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from optuna.storages.journal import JournalFileBackend

from tests.tune.conftest import KNN, FakeTrial, epoch_result, open_journal
from tests.tune.histories.driver import MSE, Driver, Fuse, Killed, real_state
from tests.tune.histories.model import FACTOR, GRACE, N_TRAIN, Model, ModelTrial, Report, World
from tune.callbacks import failures as failures_module
from tune.callbacks.failures import MAX_FAILURES, FailureTracker
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table
from tune.study.plan import Plan
from tune.trials.checkpoints import BEST_DIR, CheckpointUnreachable, read_history, write_history
from vae.checkpoint import MODEL_FILE, read_header, write_config, write_tensors
from vae.config import Config
from vae.training.state import STATE_FILE

SLOTS = 4
SPACE = {"latent_dim": {"int": [2, 64]}, "learning_rate": {"float": [1e-4, 1e-2]}, "batch_size": 8}
KILL = st.none() | st.none() | st.integers(0, 9)
"""After so many writes to the disk the driver is killed; None: it is not."""


def pick(trials: list[FakeTrial], choice: int) -> FakeTrial:
    return trials[choice % len(trials)]


class Histories(RuleBasedStateMachine):
    """The steps of a history, and what must hold after each."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse, self.patches = Fuse(), contextlib.ExitStack()
        self.folder = tempfile.mkdtemp()
        self.patches.callback(shutil.rmtree, self.folder)
        enter = self.patches.enter_context
        enter(mock.patch.object(os, "fsync"))
        enter(mock.patch.object(os, "replace", self.fuse.guard(os.replace)))
        enter(mock.patch.object(os, "rename", self.fuse.guard(os.rename)))
        enter(
            mock.patch.object(
                JournalFileBackend, "append_logs", lambda b, logs: self.fuse.append_logs(b, logs)
            )
        )
        enter(mock.patch.object(failures_module.ray, "nodes", list))
        enter(mock.patch.object(failures_module, "actors", return_value=None))
        logging.disable(logging.WARNING)
        self.patches.callback(logging.disable, logging.NOTSET)

    def teardown(self) -> None:
        self.patches.close()

    @initialize(
        scheduler=st.sampled_from(["asha", "hyperband", "median", "none"]),
        objectives=st.sampled_from([(KNN,), (MSE,), (KNN, MSE)]),
        trials=st.integers(1, 10),
        images=st.sampled_from([32, 64, 136]),
        seed=st.integers(0, 2**16),
    )
    def create(self, scheduler: str, objectives: Any, trials: int, images: int, seed: int) -> None:
        plan = Plan(
            space=SPACE,
            sampler="random",
            scheduler=scheduler,
            trials=trials,
            budget=images,
            grace_period=GRACE / N_TRAIN,
            reduction_factor=FACTOR,
            seed=seed,
            objectives=[objective.name for objective in objectives],
        )
        record = SimpleNamespace(name="study", n_warm=0, extended_at=None)
        budget = plan.choose_budget(N_TRAIN)
        run = RunDirectory(Path(self.folder) / "study")
        self.session = SimpleNamespace(
            plan=plan, run=run, objectives=objectives, budget=budget, record=record
        )
        self.world, self.model = World(seed), Model(scheduler, objectives, budget)
        self.places: dict[int, int] = {}  # images that a worker has trained, by number
        self.numbers = count()  # of checkpoints
        self.ahead: dict[int, Report] = {}  # in a checkpoint, and not yet received
        self.n_failures: dict[int, int] = {}
        self.most: dict[int, int] = {}  # images that this driver knows of
        self.params: dict[int, Any] = {}
        self.kill_at_end: int | None = None
        self.driver = Driver(self.session, FailureTracker(clock=lambda: 0.0))

    # What happens to a search

    @rule(n=st.integers(1, 80), seed=st.integers(0, 2**16))
    def proceed(self, n: int, seed: int) -> None:
        """The search takes its way for a while."""
        draw = random.Random(seed)
        for _ in range(n):
            self.advance(draw.randrange(100))

    @rule(choice=st.integers(0, 99), kill=st.integers(0, 9))
    def kill_within(self, choice: int, kill: int) -> None:
        """The driver dies in the middle of a step."""
        self.advance(choice, kill)

    @rule(seed=st.integers(0, 2**16), kill=st.integers(0, 12))
    def kill_at_an_end(self, seed: int, kill: int) -> None:
        """The driver dies as the next trial ends, which is when it writes most."""
        self.kill_at_end, driver, draw = kill, self.driver, random.Random(seed)
        for _ in range(80):
            if self.kill_at_end is None or self.driver is not driver:
                break
            self.advance(draw.randrange(100))
        self.kill_at_end = None

    @precondition(lambda self: self.with_status("RUNNING"))
    @rule(choice=st.integers(0, 99))
    def kill_before_a_report(self, choice: int) -> None:
        """A worker has saved its checkpoint, and the driver dies before it knows."""
        self.report(pick(self.with_status("RUNNING"), choice), None, dies_first=True)

    def advance(self, choice: int, kill: int | None = None) -> None:
        """Start a trial or let one report, if there is something to do."""
        waiting, running = self.with_status("PENDING"), self.with_status("RUNNING")
        if self.driver.n_samples and len(self.driver.trials) < SLOTS and choice % 3 == 0:
            self.ask(kill)
        elif waiting and (choice % 3 == 1 or not running):
            self.start(pick(waiting, choice), kill)
        elif running:
            self.report(pick(running, choice), kill)
        elif self.driver.n_samples:
            self.ask(kill)

    def ask(self, kill: int | None) -> None:
        proposed = len(self.model.trials)

        def change(model: Model) -> None:
            if not self.driver.search.searcher._unfinished:
                model.trials.append(ModelTrial(model.budget.images))

        if self.step(self.driver.ask, change, kill):
            config = self.driver.trials[-1].config
            number = config["number"]
            assert number == proposed or self.model.trials[number].state == "RUNNING"
            self.check_params(number, config["params"])

    def start(self, trial: FakeTrial, kill: int | None) -> None:
        number = trial.config["number"]
        checkpoint = self.driver.checkpoints[number]
        self.places[number] = read_history(checkpoint)[-1]["images"] if checkpoint else 0

        def change(model: Model) -> None:
            model.trials[number].row = ("running", None)

        self.step(lambda: self.driver.start(trial), change, kill)

    def report(self, trial: FakeTrial, kill: int | None, *, dies_first: bool = False) -> None:
        number, before = trial.config["number"], self.driver.checkpoints[trial.config["number"]]
        at = min(at for at in self.session.budget.reports if at > self.places[number])
        report = self.world.report(number, at)
        result = self.result_of(report, self.places[number])
        checkpoint = None if report.reason else self.write_checkpoint(trial, result, before)
        if checkpoint and at not in self.model.trials[number].reports:
            self.ahead[number] = report
        if dies_first:
            self.restart([self.model])
            return
        self.places[number] = at
        if self.kill_at_end is not None and deepcopy(self.model).deliver(number, report):
            kill, self.kill_at_end = self.kill_at_end, None

        def without_its_row(model: Model) -> None:
            model.deliver(number, report)
            if checkpoint is None:
                model.trials[number].lost.add(report.images)

        def without_its_end(model: Model) -> None:
            without_its_row(model)
            if report.reason == "collapsed":
                model.end(number, "RUNNING", ("running", None))

        if self.step(
            lambda: self.driver.result(trial, result, checkpoint),
            lambda model: model.deliver(number, report),
            kill,
            or_else=(without_its_row, without_its_end),
        ):
            self.ahead.pop(number, None)
            if result["images"] > self.most.get(number, 0):
                self.most[number], self.n_failures[number] = result["images"], 0

    @precondition(lambda self: self.driver.trials)
    @rule(
        choice=st.integers(0, 99),
        kill=KILL,
        error=st.sampled_from(
            [ValueError("no"), MemoryError("out of memory"), CheckpointUnreachable("away")]
        ),
    )
    def fail(self, choice: int, kill: int | None, error: Exception) -> None:
        """A trial raises, or its worker dies, perhaps before it has begun."""
        trial = pick(self.driver.trials, choice)
        number, n_failures = trial.config["number"], self.n_failures.get(trial.config["number"], 0) + 1
        by_tune = trial.run_metadata.num_failures + 1
        self.n_failures[number] = n_failures

        def change(model: Model) -> None:
            found = model.trials[number]
            if trial.status == "RUNNING" and by_tune <= MAX_FAILURES:
                found.row = ("pending", None)
            elif by_tune <= MAX_FAILURES and n_failures <= MAX_FAILURES:
                found.row = ("stopped_early", "interrupted")
            elif isinstance(error, CheckpointUnreachable):
                found.row = ("stopped_early", "interrupted")
                self.n_failures[number] = 0
            else:
                reason = "oom" if isinstance(error, MemoryError) else "error"
                model.end(number, "FAIL", ("failed", reason))

        self.step(lambda: self.driver.fail(trial, error), change, kill)

    @rule(kill=KILL)
    def kill(self, kill: int | None) -> None:
        """The driver dies between two steps, and perhaps again as it starts."""
        self.restart([self.model], kill)

    @rule(kill=KILL)
    def interrupt(self, kill: int | None) -> None:
        """Ctrl-C, then `tune resume`."""
        if self.step(self.driver.finish, self.interrupted, kill):
            self.check()
            self.restart([self.model])

    @precondition(lambda self: not self.driver.trials and not self.driver.n_samples)
    @rule(
        kill=KILL,
        again=KILL,
        trials=st.integers(0, 3),
        factor=st.sampled_from([1, 1, 2, 3]),
    )
    def end(self, kill: int | None, again: int | None, trials: int, factor: int) -> None:
        """All trials of this run have ended: those that were lost come again, or the study is extended."""
        if not self.step(self.driver.finish, self.interrupted, kill):
            return
        self.check()
        self.check_pareto()
        if any(trial.state == "WAITING" for trial in self.model.trials):
            self.restart([self.model], again, self.driver.failures)
            return
        session = self.session
        assert len(self.model.trials) == session.plan.trials
        images = session.budget.images * factor
        session.plan = replace(session.plan, trials=session.plan.trials + trials, budget=images)
        session.budget = session.plan.choose_budget(N_TRAIN)
        session.record.extended_at = datetime.now(UTC).isoformat()
        self.model.extend(session.budget)
        self.restart([self.model], again)

    # What must hold

    @invariant()
    def check(self) -> None:
        if not hasattr(self, "driver"):
            return
        search = self.driver.search
        expected = self.model.state()
        assert real_state(search.optuna_study, search.tables) == expected
        stored = real_state(open_journal(self.session.run.path), search.tables) if expected else []
        assert stored == expected
        if not search.tables.changed:
            on_disk = read_table(self.session.run.trials_file).to_pylist()
            assert [(row["trial_id"], row["status"], row["objective"]) for row in on_disk] == [
                (row["trial_id"], row["status"], row["objective"]) for row in search.tables.trials.values()
            ]
            n_reports = sum(len(reports) for reports in search.tables.epochs.values())
            assert read_table(self.session.run.epochs_file).num_rows == n_reports
        self.check_rungs()
        self.check_checkpoints()

    def check_rungs(self) -> None:
        if self.model.scheduler not in ("asha", "hyperband"):
            return
        rule_of = getattr(self.driver.search.scheduler.rule, "rule_of", None)
        names = {row["number"]: row["trial_id"] for row in self.driver.search.tables.trials.values()}
        for number in range(len(self.model.trials)):
            rule = self.driver.search.scheduler.rule if rule_of is None else rule_of(number)
            while hasattr(rule, "rule_of"):  # a bracket of Hyperband for each budget
                rule = rule.rule_of(number)
            expected = {
                at: {names[n]: value for n, value in self.model.rung(number, at).items()}
                for at in self.model.rungs_of(number)
            }
            assert {at: rung.values for at, rung in rule.rungs.items()} == expected

    def check_checkpoints(self) -> None:
        """The model that is kept of a trial which has ended is that of its best report, if one was saved."""
        for row in self.driver.search.tables.trials.values():
            trial = self.model.trials[row["number"]]
            best = self.model.best(trial)
            if trial.state in ("COMPLETE", "PRUNED", "FAIL") and row["checkpoint"]:
                header = read_header(self.session.run.path / row["checkpoint"] / MODEL_FILE)
                assert header["epoch"] == best / N_TRAIN
            if trial.state == "COMPLETE" and best is not None:
                assert row["checkpoint"]

    def check_pareto(self) -> None:
        rows = self.driver.search.tables.trials.values()
        if len(self.session.objectives) == 1:
            assert all(row["pareto"] is None for row in rows)
            return
        values = {
            row["number"]: self.model.trials[row["number"]].curve[
                self.model.best(self.model.trials[row["number"]])
            ]
            for row in rows
            if row["status"] == "completed"
        }
        for row in rows:
            own = values.get(row["number"])
            beaten = any(
                knn >= own[0] and mse <= own[1] and (knn, mse) != own for knn, mse in values.values() if own
            )
            assert row["pareto"] is (None if own is None else not beaten)

    def check_params(self, number: int, params: Any) -> None:
        assert self.params.setdefault(number, params)["seed"] == params["seed"]
        same = {name for name in params if name not in ("max_epochs", "schedule_epochs")}
        assert {n: params[n] for n in same} == {n: self.params[number][n] for n in same}

    # How a step is done

    def with_status(self, status: str) -> list[FakeTrial]:
        return [trial for trial in self.driver.trials if trial.status == status]

    def step(
        self,
        do: Callable[[], Any],
        change: Callable[[Model], Any],
        kill: int | None,
        or_else: Iterable[Callable[[Model], Any]] = (),
    ) -> bool:
        """Do a step in earnest and in the model; returns whether the driver has survived it.

        A kill may leave what it changes, nothing, or what one of ``or_else`` changes.
        """
        candidates = [self.model]
        for each in (*or_else, change):
            candidates.append(deepcopy(self.model))
            each(candidates[-1])
        self.fuse.left = kill
        try:
            do()
        except Killed:
            self.fuse.left = None
            self.restart(candidates)
            return False
        finally:
            self.fuse.left = None
        self.model = candidates[-1]
        return True

    def restart(
        self, candidates: list[Model], kill: int | None = None, failures: FailureTracker | None = None
    ) -> None:
        """Open what is on the disk: one of these states, and nothing else."""
        if failures is None:
            self.n_failures, self.most = {}, {}
        for candidate in candidates:
            candidate.restart(self.ahead)
        self.ahead = {}
        failures = failures or FailureTracker(clock=lambda: 0.0)
        self.fuse.left = kill
        try:
            self.driver = Driver(self.session, failures)
        except Killed:
            self.fuse.left = None
            self.driver = Driver(self.session, failures)
        finally:
            self.fuse.left = None
        search = self.driver.search
        found = real_state(search.optuna_study, search.tables)
        matching = [candidate for candidate in candidates if candidate.state() == found]
        self.model = (matching or candidates)[-1]
        assert found == self.model.state()
        numbers = [trial.number for trial in search.unfinished]
        assert numbers == [n for n, trial in enumerate(self.model.trials) if trial.state == "RUNNING"]
        for trial in search.unfinished:
            self.check_params(trial.number, trial.params)

    @staticmethod
    def interrupted(model: Model) -> None:
        for trial in model.trials:
            if trial.state == "RUNNING":
                trial.state, trial.row = "WAITING", ("stopped_early", "interrupted")

    def result_of(self, report: Report, place: int) -> dict[str, Any]:
        if report.reason == "oom":
            return {"images": place, "stop_reason": "oom", self.session.objectives[0].name: math.nan}
        knn, mse = report.values or (math.nan, math.nan)
        if self.session.objectives[0] == MSE:
            knn, mse = mse, knn
        return epoch_result(
            report.images / N_TRAIN,
            knn,
            images=report.images,
            val_mse=mse,
            stop_reason=report.reason,
            quick=report.images < self.session.budget.quick_until,
        )

    def write_checkpoint(self, trial: FakeTrial, result: dict[str, Any], before: Path | None) -> Path:
        """What `TrialReporter` leaves."""
        path = self.driver.directory / trial.config["trial_id"] / f"checkpoint_{next(self.numbers):06d}"
        history = read_history(before) if before else []
        objective = self.session.objectives[0]
        best = max(
            (objective.sign * row[objective.name] for row in history if row["is_best"]), default=-math.inf
        )
        is_best = not result["quick"] and objective.sign * result[objective.name] > best
        path.mkdir(parents=True)
        if before and (before / BEST_DIR).exists():
            shutil.copytree(before / BEST_DIR, path / BEST_DIR)
        if is_best:
            (path / BEST_DIR).mkdir(exist_ok=True)
            write_config(path / BEST_DIR, Config.from_params(trial.config["params"]), (1, 8, 8))
            write_tensors(path / BEST_DIR / MODEL_FILE, {"w": torch.zeros(1)}, {"epoch": result["epoch"]})
        write_tensors(path / STATE_FILE, {"w": torch.zeros(1)}, {"images": result["images"]})
        write_history(path, [*history, result | {"is_best": is_best}])
        return path


N_HISTORIES = int(os.environ.get("HISTORIES", "0"))
"""How many; 0: a few, always the same."""

Histories.TestCase.settings = settings(
    max_examples=N_HISTORIES or 12,
    derandomize=not N_HISTORIES,
    database=None,
    deadline=None,
    stateful_step_count=12,
    suppress_health_check=list(HealthCheck),
)
TestHistories = Histories.TestCase
