"""`python -m tune`: search, resume, extend and status."""

import argparse
import contextlib
import time
from collections import Counter
from datetime import datetime
from typing import Any, NoReturn

from rich.console import Console

from tune import STARTED
from tune.arguments import make_parser, plan_from_arguments
from tune.callbacks.failures import MAX_FAILURES, FailureTracker
from tune.callbacks.progress import make_console
from tune.callbacks.shutdown import Interruption
from tune.cluster.nodes import cluster_nodes
from tune.cluster.session import ray_session
from tune.gpu_sharing import choose_gpu_share
from tune.search_loop import run_search
from tune.space.display import SHOWN_PARAMS, percent, value_text
from tune.status import print_status, watch_status
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord, StudyStatus
from tune.storage.tables import CONFIG_PREFIX
from tune.storage.trial_status import FAILED, INTERRUPTED, TIME_BUDGET
from tune.study.session import StudySession, create_study, open_study
from tune.study.time_budget import TimeBudget
from vae.command_line import EXIT_INTERRUPTED, configure_logging, run
from vae.config import ModelConfig
from vae.errors import ClusterError, UsageError


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = make_parser().parse_args(argv)
    configure_logging(arguments.verbose)
    command = {"search": search, "resume": resume, "extend": extend, "status": status}[arguments.command]
    return command(arguments)


def search(arguments: argparse.Namespace) -> int:
    """Search, evaluate, and say what was found and where it is."""
    with create_study(plan_from_arguments(arguments)) as study:
        return _carry_out(study, arguments)


def resume(arguments: argparse.Namespace) -> int:
    """Continue a study that was interrupted or killed, exactly where it was."""
    console, run = make_console(), RunDirectory.open(arguments.run)
    record = run.read_study()
    if record.status is StudyStatus.COMPLETED:
        console.print(
            f"{record.name} is finished: {record.arguments['trials']} trials, nothing to resume; "
            f"`python -m tune extend {arguments.run} --trials N` adds more"
        )
        return 0
    if record.status is StudyStatus.TIME_BUDGET and arguments.time_budget is None:
        console.print(
            f"{record.name} has used its time budget, nothing was changed; give resume a --time-budget "
            "of its own, such as 30m, to go on"
        )
        return 0
    changes = {"time_budget_s": arguments.time_budget or _budget_left(run, record)}
    if arguments.data_dir is not None:
        changes["data_dir"] = arguments.data_dir
    with open_study(run, **changes) as study:
        return _carry_out(study, arguments)


def extend(arguments: argparse.Namespace) -> int:
    """Add trials or epochs to a finished study."""
    run = RunDirectory.open(arguments.run)
    record = run.read_study()
    planned = record.arguments
    if record.status is not StudyStatus.COMPLETED:
        raise UsageError(f"{arguments.run} is not finished; `python -m tune resume {arguments.run}` goes on")
    if not arguments.trials and arguments.max_epochs is None:
        raise UsageError("there is nothing to extend; give --trials, --max-epochs or both")
    max_epochs = arguments.max_epochs or planned["max_epochs"]
    if max_epochs < planned["max_epochs"]:
        raise UsageError(
            f"max_epochs can only grow: it is {planned['max_epochs']}, got {arguments.max_epochs}"
        )
    changes: dict[str, Any] = {
        "trials": planned["trials"] + arguments.trials,
        "max_epochs": max_epochs,
        "time_budget_s": arguments.time_budget,
    }
    for name in ("finalists", "finalist_seeds", "data_dir"):
        if getattr(arguments, name) is not None:
            changes[name] = getattr(arguments, name)
    with open_study(run, **changes) as study:
        return _carry_out(study, arguments)


def status(arguments: argparse.Namespace) -> int:
    """Print the trials of a study, once or until it ends."""
    run, console = RunDirectory.open(arguments.run), make_console()
    if not arguments.watch:
        print_status(run, console)
        return 0
    with contextlib.suppress(KeyboardInterrupt):  # the usual way to leave it
        watch_status(run, console)
    return 0


def _carry_out(study: StudySession, arguments: argparse.Namespace) -> int:
    """Run what is left of a study: trials, fresh seeds for the finalists, evaluation."""
    console, plan, interruption = make_console(), study.plan, Interruption()
    name, dashboard_wanted = study.record.name, not arguments.no_dashboard
    with ray_session(arguments.address, dashboard=dashboard_wanted, job=name) as dashboard:
        console.print(
            f"[bold]{study.record.name}[/]: {plan.trials} trials of up to {plan.max_epochs} epochs on "
            f"{study.record.dataset.name}, by {' and '.join(o.name for o in study.objectives)}"
        )
        if dashboard:
            console.print(f"dashboard {dashboard}")
        study.record.timings["start_s"] = time.perf_counter() - STARTED
        choose_gpu_share(study, console)
        budget = _time_budget(study)
        _search(study, console, interruption, budget)
        if study.n_lost and interruption.reason is None:
            raise ClusterError(
                f"{study.n_lost} trials came no further again and again; see "
                f"{study.run.location_of(study.run.ray_dir)}, `python -m tune resume {study.run.location}` "
                "goes on"
            )
        _print_best(study, console)
        if interruption.reason == INTERRUPTED or study.best is None or not plan.evaluate:
            _report(study)
        if interruption.reason == INTERRUPTED:
            study.end(StudyStatus.INTERRUPTED)
            console.print(
                f"interrupted; what was done is in {study.run.location}, "
                f"`python -m tune resume {study.run.location}` goes on"
            )
            return EXIT_INTERRUPTED
        if study.best is not None and plan.evaluate:
            _evaluate(study, console, budget)
        study.end(StudyStatus.TIME_BUDGET if interruption.reason == TIME_BUDGET else StudyStatus.COMPLETED)
        if study.best is None:
            console.print(
                f"no trial trained its full budget{_why(study)}; see "
                f"{study.run.location_of(study.run.trials_file)}",
                style="red",
            )
            return 1
        console.print(f"everything is in {study.run.location}")
    return 0


def _search(
    study: StudySession, console: Console, interruption: Interruption, budget: TimeBudget | None
) -> None:
    """Search, and again for the trials that were lost on the way, as long as that takes them further."""
    losses = FailureTracker()
    run_search(study, console, interruption, budget, losses)
    in_vain = 0
    while study.n_lost and interruption.reason is None and in_vain < MAX_FAILURES:
        before = study.n_lost, study.n_epochs
        run_search(study, console, interruption, budget, losses)
        in_vain = 0 if (study.n_lost, study.n_epochs) != before else in_vain + 1


def _time_budget(study: StudySession) -> TimeBudget | None:
    plan = study.plan
    if plan.time_budget_s is None:
        return None
    budget = TimeBudget(
        seconds=plan.time_budget_s,
        started=STARTED,
        evaluation_s=_evaluation_seconds(study) if plan.evaluate else 0.0,
        finalists=plan.finalists,
        finalist_seeds=plan.finalist_seeds if plan.evaluate else 0,
    )
    budget.check()
    return budget


def _evaluation_seconds(study: StudySession) -> float:
    """Return what the evaluation will take at most, on the connected cluster."""
    from evaluation.pipeline.cost import estimate_seconds

    data, plan = study.data, study.plan
    latent_dims = [
        dim for branch in plan.space.entries.get("latent_dim", ()) for dim in branch.domain.examples
    ]
    return estimate_seconds(
        n_train=len(data.train_images) + len(data.validation_images),
        n_test=study.record.dataset.n_test,
        n_pixels=data.train_images[0].size,
        n_finalists=plan.finalists,
        n_seeds=plan.finalist_seeds,
        latent_dim=max(latent_dims, default=ModelConfig().latent_dim),
        n_slots=max(1, cluster_nodes().cpus),
        labelled=data.labelled,
    )


def _budget_left(run: RunDirectory, record: StudyRecord) -> float | None:
    """Return what a killed study had left of its time budget; its files tell until when it lived."""
    whole: float | None = record.arguments["time_budget_s"]
    if whole is None:
        return None
    started = datetime.fromisoformat(record.sessions[-1]["started_at"]).timestamp()
    files = [run.study_file, run.trials_file, run.journal_file]
    last = max(file.stat().st_mtime for file in files if file.exists())
    return max(whole - (last - started), 1.0)


def _evaluate(study: StudySession, console: Console, budget: TimeBudget | None) -> None:
    # Seconds of imports that only this needs.
    from evaluation.api import evaluate_run
    from evaluation.report.summary import print_summary
    from tune.retrain import retrain_finalists
    from tune.study.ranking import choose_finalists

    plan, begun = study.plan, time.perf_counter()
    if plan.finalist_seeds:
        finalists = choose_finalists(study.run, study.objectives[0].mode, plan.finalists)
        n_runs = len(finalists) * plan.finalist_seeds
        given_up = retrain_finalists(
            study,
            finalists,
            n_seeds=plan.finalist_seeds,
            console=console,
            seconds=None if budget is None else budget.left(),
        )
        if given_up:
            console.print(
                f"{given_up} of {n_runs} trainings with fresh seeds did not end within the time budget"
            )
        study.record.timings["finalist_seeds_s"] = time.perf_counter() - begun
        plan, begun = study.plan, time.perf_counter()
    evaluate_run(study.run, finalists=plan.finalists, console=console)
    study.record.timings["evaluation_s"] = time.perf_counter() - begun
    study.save()
    print_summary(study.run, console)


def _report(study: StudySession) -> None:
    """Write the report of a search that is not evaluated."""
    from evaluation.report.page import write_report

    write_report(study.run)


def _print_best(study: StudySession, console: Console) -> None:
    timings, best = study.record.timings, study.best
    console.print(
        f"searched {timings['search_s']:.0f} s, "
        f"{percent(timings['occupancy'], 0)} of the workers' time was training and validation"
    )
    if best is not None:
        params = ", ".join(f"{name} {value_text(best[CONFIG_PREFIX + name])}" for name in SHOWN_PARAMS)
        score = f"{study.objectives[0].name} {best['objective']:.4f} at epoch {best['best_epoch']}"
        console.print(f"[bold green]best[/] [bold]{best['trial_id']}[/]: {score} ({params})")


def _why(study: StudySession) -> str:
    """Say what most of the trials that failed died of."""
    failed = [row["error"] or row["stop_reason"] for row in study.trials if row["status"] == FAILED]
    if not failed:
        return ""
    (error, n), *others = Counter(failed).most_common()
    return f": {len(failed)} failed, {n if others else 'all'} with: {error}"


def cli() -> NoReturn:
    """Entry point of the console script."""
    run(main)


if __name__ == "__main__":
    cli()
