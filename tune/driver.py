"""One session of a study from Ray's start to the study's end: what the commands and the Python API share."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from numpy.typing import ArrayLike
from ray.tune import Callback
from rich.console import Console
from rich.text import Text

from tune.algorithms.ending import EndKind
from tune.callbacks.failures import MAX_FAILURES, FailureTracker
from tune.callbacks.shutdown import Interruption
from tune.cluster.session import ray_session
from tune.gpu_sharing import choose_gpu_share
from tune.search_loop import run_search
from tune.space.display import SHOWN_PARAMS, percent, value_text
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord, StudyStatus
from tune.storage.tables import CONFIG_PREFIX
from tune.storage.trial_status import TrialStatus
from tune.study.extension import n_trials, plan_extension
from tune.study.model_cards import write_model_cards
from tune.study.plan import Plan
from tune.study.session import StudySession, create_study, open_study
from tune.study.time_budget import TimeBudget
from vae.config import epochs_text
from vae.data import Images
from vae.errors import ClusterError


class Evaluation(Protocol):
    """What the command does after the search and before the study ends, so that `resume` repeats it."""

    def seconds(self, session: StudySession) -> float:
        """Return what it will take at most, on the connected cluster."""

    def run(self, session: StudySession, console: Console) -> None:
        """Evaluate the finalists."""

    def report(self, session: StudySession, console: Console) -> None:
        """Write the report of a search that is not evaluated, and say what it added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """How a study is carried out; the study itself is in its plan.

    Parameters
    ----------
    console
        Shows the progress.
    address
        Ray cluster to join, see `ray_session`.
    dashboard
        Start a local cluster with Ray's dashboard.
    callbacks, trainable
        See `run_search`.
    evaluation
        What follows the search; None leaves it to the caller.
    started
        When the time budget begins, on `time.perf_counter`.
    """

    console: Console
    address: str | None = None
    dashboard: bool = True
    callbacks: Sequence[Callback] = ()
    trainable: Callable[..., Any] | None = None
    evaluation: Evaluation | None = None
    started: float = field(default_factory=time.perf_counter)

    def search(self, plan: Plan, arrays: tuple[Images, ArrayLike | None] | None = None) -> StudySession:
        """Search anew; see `create_study` for arguments and errors."""
        with create_study(plan, arrays) as session:
            self._run_study(session)
        return session

    def resume(
        self,
        run: RunDirectory,
        *,
        time_budget: float | str | None = None,
        **changes: Any,
    ) -> StudySession | None:
        """Continue a study that was interrupted or killed, exactly where it was.

        ``changes`` are other fields of its plan; None keeps what they were. One that is complete stays as it
        is, and so does one that has used its time budget, unless it is given another: None.

        Raises
        ------
        UsageError, StorageError
            As `open_study`.
        ClusterError
            Ray does not start, or loses trials again and again.
        """
        record = run.read_study()
        if record.status.is_final:
            why = f" ({record.end_reason})" if record.end_reason else ""
            self.console.print(
                f"{record.name} is finished: {n_trials(run, record)} trials{why}, nothing to resume; "
                f"`python -m tune extend {run.location} --trials N` adds more"
            )
            return None
        if record.status is StudyStatus.TIME_BUDGET and time_budget is None:
            self.console.print(
                f"{record.name} has used its time budget, nothing was changed; to continue, give resume a "
                "--time-budget of its own, such as 30m"
            )
            return None
        changes = {name: value for name, value in changes.items() if value is not None}
        changes["time_budget_s"] = time_budget or _remaining_budget(run, record)
        with open_study(run, **changes) as session:
            self._run_study(session, needs_time_for_trials=False)
        return session

    def extend(
        self,
        run: RunDirectory,
        *,
        trials: int = 0,
        max_epochs: float | None = None,
        budget: int | None = None,
        target: float | None = None,
        time_budget: float | str | None = None,
        **changes: Any,
    ) -> StudySession:
        """Add trials or budget to a finished study.

        Parameters
        ----------
        trials
            How many more.
        max_epochs, budget
            The new full budget, in epochs or in images.
        target
            The new target; by default the study's, unless that is reached.
        time_budget
            Of the extension.
        changes
            Other fields of the plan that change; None keeps what they were.

        Raises
        ------
        UsageError
            It is not finished, or there is nothing to add; also as `open_study`.
        StorageError
            As `open_study`.
        ClusterError
            Ray does not start, or loses trials again and again.
        """
        record = run.read_study()
        changes = plan_extension(
            run,
            record,
            trials=trials,
            max_epochs=max_epochs,
            budget=budget,
            target=target,
            **changes,
        )
        changes["time_budget_s"] = time_budget
        with open_study(run, extension=True, **changes) as session:
            self._run_study(session)
        return session

    def _run_study(self, session: StudySession, *, needs_time_for_trials: bool = True) -> None:
        """Run what remains of a study: trials, fresh seeds for the finalists, evaluation.

        Without time for trials there is none, or it is an error if it ``needs_time_for_trials``: a study that
        was killed after its last trial has time for no more than what follows.
        """
        console, plan, record = self.console, session.plan, session.record
        with ray_session(self.address, dashboard=self.dashboard, job=record.name) as dashboard:
            asked = (
                f": {plan.trials} trials of up to {session.budget} on {record.dataset.name}, by "
                f"{' and '.join(objective.name for objective in session.objectives)}"
            )
            console.print(Text.assemble((record.name, "bold"), asked))
            if dashboard:
                console.print(f"dashboard {dashboard}")
            record.timings["start_s"] = time.perf_counter() - self.started
            choose_gpu_share(session, console)
            budget = self._time_budget(session)
            if budget is not None and needs_time_for_trials:
                budget.check()
            status = self._search(session, budget)
            _print_best(session, console)
            is_over = status is not StudyStatus.INTERRUPTED and session.best is not None
            if is_over and _train_fresh_seeds(session, console, budget) and status.is_final:
                status = StudyStatus.TIME_BUDGET  # to be resumed
            if is_over:  # an evaluation completes them
                shape = session.data.train_images.shape[1:]
                write_model_cards(session.run, record, session.trials, shape)
            if self.evaluation is not None and is_over and plan.evaluate:
                _evaluate(self.evaluation, session, console)
            elif self.evaluation is not None:
                self.evaluation.report(session, console)
            session.end(status)
            _print_end(session, console)
            if is_over and self.evaluation is not None and not plan.evaluate:
                console.print(f"not evaluated; `python -m evaluation {session.run.location}` does that")

    def _search(self, session: StudySession, budget: TimeBudget | None) -> StudyStatus:
        """Search, and again for the trials that were lost on the way, as long as that takes them further."""
        shutdown, failures, n_stalled = Interruption(), FailureTracker(), 0
        while True:
            before = session.n_lost, session.n_images
            run_search(
                session,
                self.console,
                shutdown,
                budget,
                failures,
                callbacks=self.callbacks,
                trainable=self.trainable,
            )
            if shutdown.reason is not None:
                return StudyStatus(shutdown.reason)
            if not session.n_lost:
                plateau = session.ending is not None and session.ending.kind is EndKind.PLATEAU
                return StudyStatus.PLATEAU if plateau else StudyStatus.COMPLETED
            n_stalled = n_stalled + 1 if (session.n_lost, session.n_images) == before else 0
            if n_stalled == MAX_FAILURES:
                run = session.run
                raise ClusterError(
                    f"{session.n_lost} trials made no progress in repeated attempts; see "
                    f"{run.location_of(run.ray_dir)}, `python -m tune resume {run.location}` continues"
                )

    def _time_budget(self, session: StudySession) -> TimeBudget | None:
        plan, evaluation = session.plan, self.evaluation if session.plan.evaluate else None
        if plan.time_budget_s is None:
            return None
        return TimeBudget(
            seconds=plan.time_budget_s,
            started=self.started,
            evaluation_s=evaluation.seconds(session) if evaluation else 0.0,
            finalists=plan.most_finalists,
            finalist_seeds=plan.finalist_seeds,
        )


def failure_summary(trials: Iterable[Mapping[str, Any]]) -> str:
    """Say why most of the trials that failed did; nothing if none failed."""
    failed = [row["error"] or row["stop_reason"] for row in trials if row["status"] == TrialStatus.FAILED]
    if not failed:
        return ""
    (error, n), *others = Counter(failed).most_common()
    return f": {len(failed)} failed, {n if others else 'all'} with: {error}"


def _remaining_budget(run: RunDirectory, record: StudyRecord) -> float | None:
    """Return what remains of the time budget of a killed study, whose files say until when it lived."""
    whole: float | None = record.arguments.get("time_budget_s")
    if whole is None:
        return None
    started = datetime.fromisoformat(record.sessions[-1]["started_at"]).timestamp()
    files = [run.study_file, run.trials_file, run.journal_file]
    last = max(file.stat().st_mtime for file in files if file.exists())
    return max(whole - (last - started), 1.0)


def _train_fresh_seeds(session: StudySession, console: Console, budget: TimeBudget | None) -> int:
    """Return how many trainings did not end within the time budget."""
    plan, started = session.plan, time.perf_counter()
    if not plan.finalist_seeds:
        return 0
    from tune.retrain import retrain_finalists  # only this needs it
    from tune.study.ranking import choose_finalists

    finalists = choose_finalists(
        session.run, session.objectives[0].mode, plan.finalists, per_dim=plan.finalists_per_dim
    )
    n_runs = len(finalists) * plan.finalist_seeds
    n_unfinished = retrain_finalists(
        session,
        finalists,
        n_seeds=plan.finalist_seeds,
        console=console,
        seconds=None if budget is None else budget.left(),
    )
    if n_unfinished:
        console.print(
            f"{n_unfinished} of {n_runs} trainings with fresh seeds did not end within the time budget"
        )
    session.record.timings["finalist_seeds_s"] = time.perf_counter() - started
    return n_unfinished


def _evaluate(evaluation: Evaluation, session: StudySession, console: Console) -> None:
    started = time.perf_counter()
    evaluation.run(session, console)
    session.record.timings["evaluation_s"] = time.perf_counter() - started
    session.save()


def _print_best(session: StudySession, console: Console) -> None:
    timings, best = session.record.timings, session.best
    if session.ending is not None:
        n = len(session.trials)
        console.print(f"ended after {n} of {session.plan.trials} trials: {session.ending.reason}")
    console.print(
        f"searched {timings['search_s']:.0f} s, "
        f"{percent(timings['occupancy'], 0)} of the workers' time was training and validation"
    )
    if best is not None:
        params = ", ".join(f"{name} {value_text(best[CONFIG_PREFIX + name])}" for name in SHOWN_PARAMS)
        epoch = epochs_text(best["best_epoch"])
        score = f"{session.objectives[0].name} {best['objective']:.4f} at epoch {epoch}"
        console.print(
            Text.assemble(("best", "bold green"), " ", (best["trial_id"], "bold"), f": {score} ({params})")
        )


def _print_end(session: StudySession, console: Console) -> None:
    run = session.run
    if session.record.status is StudyStatus.INTERRUPTED:
        console.print(
            f"interrupted; what was done is in {run.location}, "
            f"`python -m tune resume {run.location}` continues"
        )
    elif session.best is None:
        console.print(
            f"no trial trained its full budget{failure_summary(session.trials)}; see "
            f"{run.location_of(run.trials_file)}",
            style="red",
        )
    else:
        console.print(f"everything is in {run.location}")
    if session.record.status is StudyStatus.TIME_BUDGET:
        console.print(f"`python -m tune resume {run.location} --time-budget TIME` does what remains")
