"""The search of a study: restore what an earlier driver did not finish, then Tune's loop over all trials."""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from ray.tune import Callback, FailureConfig, RunConfig, TuneConfig, Tuner, with_parameters, with_resources
from ray.tune.experiment import Trial
from ray.tune.logger import JsonLoggerCallback, TBXLoggerCallback
from rich.console import Console

from tune.algorithms import journal
from tune.algorithms.scheduler import EarlyStopping
from tune.algorithms.searcher import OptunaSearcher
from tune.callbacks.dashboard import DashboardCallback
from tune.callbacks.failures import MAX_FAILURES, FailureTracker
from tune.callbacks.latest_checkpoint import KeepLatestCheckpoint
from tune.callbacks.progress import Progress
from tune.callbacks.prometheus import PrometheusCallback
from tune.callbacks.recorder import Recorder
from tune.callbacks.shutdown import Interruption, TimeLimit
from tune.callbacks.utilization import Utilization
from tune.cluster.resources import TrialResources
from tune.cluster.shared_storage import check_shared
from tune.restore import open_search
from tune.space.configurations import at_most
from tune.storage.trial_status import StopReason
from tune.study.session import StudySession
from tune.study.time_budget import TimeBudget
from tune.trials.actor import trial_actor
from tune.trials.checkpoints import new_session_dir
from tune.trials.remote_checkpoints import RemoteCheckpoints
from tune.trials.trainable import CollapseRule, train_trial


def run_search(
    session: StudySession,
    console: Console,
    shutdown: Interruption,
    time_budget: TimeBudget | None = None,
    failures: FailureTracker | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    trainable: Callable[..., Any] | None = None,
) -> None:
    """Run the trials of a study on the connected cluster; its files are complete however that ends.

    Trials that an earlier driver or an earlier call did not finish come first.

    Parameters
    ----------
    session
        The study, locked by this process.
    console
        Shows the progress.
    shutdown
        Why and when the search ends before its trials do.
    time_budget
        How long the trials may take.
    failures
        Those that an earlier call has counted.
    callbacks
        Further callbacks of Ray Tune; they are called last.
    trainable
        What trains a trial, called like `train_trial`, which is the default.
    """
    failures = failures or FailureTracker()
    plan, run = session.plan, session.run
    resources = session.resources(plan.trials)
    check_shared(run)
    search = open_search(session, failures)
    optuna_study, tables, scheduler = search.optuna_study, search.tables, search.scheduler
    searcher, unfinished = search.searcher, search.unfinished
    recorder = Recorder(tables, failures, tell=searcher.tell, cutoff_of=scheduler.cutoff_of)
    utilization = Utilization(resources)
    n_proposed = len(journal.proposed_trials(optuna_study))
    n_trials = max(at_most(plan.space, plan.trials), n_proposed)  # what is not on a step may be there as well
    progress = Progress(tables, n_trials=n_trials, console=console, slots=lambda: utilization.slots)
    dashboard = DashboardCallback(tables, session.record)
    ending = searcher.ending()
    # With trials to be continued it may be off again.
    n_samples = 0 if ending and not unfinished else len(unfinished) + plan.trials - n_proposed
    left = math.inf
    if time_budget is not None:
        left = time_budget.left_for_trials(tables.trials.values(), utilization.slots)
    if n_samples and left <= 0:
        shutdown.reason, n_samples = StopReason.TIME_BUDGET, 0
    tuner = _tuner(
        session,
        resources,
        searcher,
        scheduler,
        [
            *(JsonLoggerCallback(), TBXLoggerCallback(), KeepLatestCheckpoint()),
            *(() if time_budget is None else (TimeLimit(shutdown, time_budget, tables, utilization),)),
            *(shutdown, utilization, failures, recorder, progress, dashboard, PrometheusCallback(tables)),
            *callbacks,
        ],
        trainable=trainable or train_trial,
        n_samples=n_samples,
    )
    if n_proposed:
        console.print(
            f"{n_proposed - len(unfinished)} trials had ended, {len(unfinished)} continue, "
            f"{0 if ending else n_trials - n_proposed} are to come"
        )
    if shutdown.reason == StopReason.TIME_BUDGET:
        console.print("the time budget leaves no time for trials")
    if utilization.slots < resources.slots:
        console.print(
            f"the nodes have room for {utilization.slots} of the trials; the autoscaler starts more of them, "
            f"for up to {resources.slots}"
        )
    trained_before = sum(row["train_seconds"] for row in tables.trials.values())

    def save() -> None:
        utilization.update()
        session.trials = list(tables.trials.values())
        over = shutdown.reason is None and len(session.trials) < plan.trials
        session.ending = searcher.ending() if over else None
        train_seconds = sum(row["train_seconds"] for row in session.trials)
        timings = session.record.timings
        timings["search_s"] = timings.get("search_s", 0.0) + utilization.seconds
        timings["train_s"] = train_seconds
        timings["occupancy"] = utilization.share(train_seconds - trained_before)
        session.save(resources=asdict(resources), end_reason=session.ending and session.ending.reason)

    session.started = True
    with ExitStack() as at_end:  # runs each of these, last first, whatever another one raises
        at_end.callback(save)
        at_end.callback(dashboard.update)
        at_end.callback(lambda: tables.finish(shutdown.reason or StopReason.INTERRUPTED))
        at_end.callback(searcher.close)
        if tuner is not None:
            with shutdown.catching_signals(), progress:
                try:
                    tuner.fit()
                except Exception:
                    if recorder.error:
                        raise recorder.error from None
                    raise


def _tuner(
    session: StudySession,
    resources: TrialResources,
    searcher: OptunaSearcher,
    scheduler: EarlyStopping,
    callbacks: list[Callback],
    *,
    trainable: Callable[..., Any],
    n_samples: int,
) -> Tuner | None:
    """Return what runs the trials; None if there is none to run."""
    if n_samples < 1:
        return None
    plan, remote = session.plan, session.run.mirror
    directory = new_session_dir(session.run)
    trainable = with_parameters(
        trainable,
        data=session.data,
        objective=session.objectives[0],
        n_threads=resources.n_threads,
        collapse=CollapseRule(plan.min_active_units, after=session.budget.grace_period),
        budget=session.budget,
        remote=RemoteCheckpoints(remote.filesystem, remote.remote_path(directory)) if remote else None,
    )
    trainable = with_resources(trainable, {"cpu": resources.cpus, "gpu": resources.gpus})
    return Tuner(
        trial_actor(trainable, session.record.name),
        tune_config=TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=n_samples,
            max_concurrent_trials=resources.slots,  # or only one would be pending, whatever is free
            reuse_actors=True,  # a process for each trial costs seconds
            trial_name_creator=_trial_id,
            trial_dirname_creator=_trial_id,
        ),
        run_config=RunConfig(
            name=directory.name,
            storage_path=str(directory.parent),
            callbacks=callbacks,
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            verbose=0,
        ),
    )


def _trial_id(trial: Trial) -> str:
    return str(trial.config["trial_id"])
