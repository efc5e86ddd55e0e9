"""`python -m tune search` and `python -m tune status`: the command line of the search."""

import argparse
import math
import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import ray
from rich.console import Console

from evaluation.run_directory import RunDirectory
from evaluation.tables import CONFIG_PREFIX
from tune import STARTED
from tune.budget import TimeBudget
from tune.cluster import TrialResources, ray_session, trial_resources
from tune.interruption import Interruption
from tune.objective import MODES
from tune.outcome import INTERRUPTED, TIME_BUDGET
from tune.plan import Plan
from tune.progress import SHOWN_PARAMS, make_console
from tune.samplers import SAMPLERS
from tune.space_file import DEFAULT_SPACE, load_space
from tune.status import print_status
from tune.stopping import SCHEDULERS
from tune.study import FINISHED, MAX_FAILURES, Study, new_study, old_study, run_search
from vae.command_line import INTERRUPTED as INTERRUPTED_CODE
from vae.command_line import Parser, configure_logging, run
from vae.config import ModelConfig
from vae.errors import ClusterError, UserError


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    configure_logging(arguments.verbose)
    command = {"search": search, "resume": resume, "extend": extend, "status": status}[arguments.command]
    return command(arguments)


def search(arguments: argparse.Namespace) -> int:
    """Search, evaluate, and say what was found and where it is."""
    with new_study(_plan(arguments)) as study:
        return _carry_out(study, arguments)


def resume(arguments: argparse.Namespace) -> int:
    """Continue a study that was interrupted or killed, exactly where it was."""
    console, run = make_console(), RunDirectory.open(arguments.run)
    record = run.read_study()
    if record["status"] == FINISHED:
        console.print(
            f"{record['name']} is finished: {record['arguments']['trials']} trials, nothing to resume; "
            f"`python -m tune extend {arguments.run} --trials N` adds more"
        )
        return 0
    if record["status"] == TIME_BUDGET and arguments.time_budget is None:
        console.print(
            f"{record['name']} has used its time budget, nothing was changed; give resume a --time-budget "
            "of its own, such as 30m, to go on"
        )
        return 0
    with old_study(run, time_budget_s=arguments.time_budget or _budget_left(run, record)) as study:
        return _carry_out(study, arguments)


def extend(arguments: argparse.Namespace) -> int:
    """Add trials or epochs to a finished study."""
    run = RunDirectory.open(arguments.run)
    record = run.read_study()
    planned = record["arguments"]
    if record["status"] != FINISHED:
        raise UserError(f"{arguments.run} is not finished; `python -m tune resume {arguments.run}` goes on")
    if not arguments.trials and arguments.max_epochs is None:
        raise UserError("there is nothing to extend; give --trials, --max-epochs or both")
    max_epochs = arguments.max_epochs or planned["max_epochs"]
    if max_epochs < planned["max_epochs"]:
        raise UserError(
            f"max_epochs can only grow: it is {planned['max_epochs']}, got {arguments.max_epochs}"
        )
    changes: dict[str, Any] = {
        "trials": planned["trials"] + arguments.trials,
        "max_epochs": max_epochs,
        "time_budget_s": arguments.time_budget,
    }
    for name in ("finalists", "finalist_seeds"):
        if getattr(arguments, name) is not None:
            changes[name] = getattr(arguments, name)
    with old_study(run, **changes) as study:
        return _carry_out(study, arguments)


def status(arguments: argparse.Namespace) -> int:
    """Print the trials of a study."""
    print_status(RunDirectory.open(arguments.run), make_console())
    return 0


def _carry_out(study: Study, arguments: argparse.Namespace) -> int:
    """Run what is left of a study: trials, fresh seeds for the finalists, evaluation."""
    console, plan, interruption = make_console(), study.plan, Interruption()
    with ray_session(arguments.address, dashboard=not arguments.no_dashboard) as dashboard:
        console.print(
            f"[bold]{study.record['name']}[/]: {plan.trials} trials of up to {plan.max_epochs} epochs on "
            f"{study.record['dataset']['name']}, by {' and '.join(o.name for o in study.objectives)}"
        )
        if dashboard:
            console.print(f"dashboard {dashboard}")
        study.record["timings"]["start_s"] = time.perf_counter() - STARTED
        budget = _time_budget(study)
        run_search(study, console, interruption, budget)
        for _ in range(MAX_FAILURES):
            if study.n_lost and interruption.reason is None:
                run_search(study, console, interruption, budget)
        if study.n_lost and interruption.reason is None:
            raise ClusterError(
                f"{study.n_lost} trials lost their workers again and again; see {study.run.ray_dir}, "
                f"`python -m tune resume {study.run.path}` goes on"
            )
        _print_best(study, console)
        if interruption.reason == INTERRUPTED or study.best is None or not plan.evaluate:
            _report(study)
        if interruption.reason == INTERRUPTED:
            study.end("interrupted")
            console.print(
                f"interrupted; what was done is in {study.run.path}, "
                f"`python -m tune resume {study.run.path}` goes on"
            )
            return INTERRUPTED_CODE
        if study.best is not None and plan.evaluate:
            _evaluate(study, console, budget)
        study.end(TIME_BUDGET if interruption.reason == TIME_BUDGET else FINISHED)
        if study.best is None:
            console.print(f"no trial trained its full budget, see {study.run.trials_file}", style="red")
            return 1
        console.print(f"everything is in {study.run.path}")
    return 0


def _time_budget(study: Study) -> TimeBudget | None:
    plan = study.plan
    if plan.time_budget_s is None:
        return None
    budget = TimeBudget(
        seconds=plan.time_budget_s,
        started=STARTED,
        evaluation_s=_evaluation_seconds(study) if plan.evaluate else 0.0,
        finalists=plan.finalists,
        finalist_seeds=plan.finalist_seeds if plan.evaluate else 0,
        slots=_resources(plan, plan.trials).slots,
    )
    budget.check()
    return budget


def _resources(plan: Plan, n_runs: int) -> TrialResources:
    return trial_resources(plan.cpus_per_trial, plan.gpus_per_trial, plan.max_concurrent, n_runs)


def _evaluation_seconds(study: Study) -> float:
    """Return what the evaluation will take at most, on the connected cluster."""
    from evaluation.cost import estimate_seconds

    data, plan = study.data, study.plan
    latent_dims = [
        dim for branch in plan.space.entries.get("latent_dim", ()) for dim in branch.domain.examples
    ]
    return estimate_seconds(
        n_train=len(data.train_images) + len(data.validation_images),
        n_test=study.record["dataset"]["n_test"],
        n_pixels=data.train_images[0].size,
        n_finalists=plan.finalists,
        n_seeds=plan.finalist_seeds,
        latent_dim=max(latent_dims, default=ModelConfig().latent_dim),
        n_slots=max(1, int(ray.cluster_resources().get("CPU", 1))),
        labelled=data.labelled,
    )


def _budget_left(run: RunDirectory, record: dict[str, Any]) -> float | None:
    """Return what a killed study had left of its time budget; its files tell until when it lived."""
    whole: float | None = record["arguments"]["time_budget_s"]
    if whole is None:
        return None
    started = datetime.fromisoformat(record["sessions"][-1]["started_at"]).timestamp()
    files = [run.study_file, run.trials_file, run.journal_file]
    last = max(file.stat().st_mtime for file in files if file.exists())
    return max(whole - (last - started), 1.0)


def _evaluate(study: Study, console: Console, budget: TimeBudget | None) -> None:
    # Seconds of imports that only this needs.
    from evaluation.evaluate import evaluate_run
    from evaluation.plan import choose_finalists
    from evaluation.summary import print_summary
    from tune.finalists import retrain_finalists

    plan, begun = study.plan, time.perf_counter()
    if plan.finalist_seeds:
        finalists = choose_finalists(study.run, study.objectives[0].mode, plan.finalists)
        n_runs = len(finalists) * plan.finalist_seeds
        given_up = retrain_finalists(
            study.run,
            finalists,
            study.data,
            study.objectives[0],
            n_seeds=plan.finalist_seeds,
            study_seed=plan.seed,
            max_epochs=plan.max_epochs,
            resources=_resources(plan, n_runs),
            console=console,
            seconds=None if budget is None else budget.left(),
        )
        if given_up:
            console.print(
                f"{given_up} of {n_runs} trainings with fresh seeds did not end within the time budget"
            )
        study.record["timings"]["finalist_seeds_s"] = time.perf_counter() - begun
        plan, begun = study.plan, time.perf_counter()
    evaluate_run(study.run, finalists=plan.finalists, console=console)
    study.record["timings"]["evaluation_s"] = time.perf_counter() - begun
    study.save()
    print_summary(study.run, console)


def _report(study: Study) -> None:
    """Write the report of a search that is not evaluated."""
    from evaluation.report import write_report

    write_report(study.run)


def _print_best(study: Study, console: Console) -> None:
    timings, best = study.record["timings"], study.best
    console.print(
        f"searched {timings['search_s']:.0f} s, "
        f"{timings['occupancy']:.0%} of the workers' time was training and validation"
    )
    if best is not None:
        params = ", ".join(f"{name} {_short(best[CONFIG_PREFIX + name])}" for name in SHOWN_PARAMS)
        score = f"{study.objectives[0].name} {best['objective']:.4f} at epoch {best['best_epoch']}"
        console.print(f"[bold green]best[/] [bold]{best['trial_id']}[/]: {score} ({params})")


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _plan(arguments: argparse.Namespace) -> Plan:
    """Check what can be checked without data or cluster."""
    if "://" in arguments.storage:
        raise UserError(
            f"--storage must be a local directory, got '{arguments.storage}'; object stores do not work yet"
        )
    return Plan(
        dataset=arguments.dataset,
        data_dir=arguments.data_dir,
        name=arguments.name,
        storage=Path(arguments.storage).expanduser(),
        trials=arguments.trials,
        max_epochs=arguments.max_epochs,
        grace_period=arguments.grace_period or max(1, arguments.max_epochs // 4),
        reduction_factor=arguments.reduction_factor,
        scheduler=arguments.scheduler,
        min_active_units=arguments.min_active_units,
        space=load_space(arguments.space),
        objectives=tuple(arguments.objective) if arguments.objective else None,
        sampler=arguments.sampler,
        seed=arguments.seed,
        warm_start=arguments.warm_start,
        finalists=arguments.finalists,
        finalist_seeds=arguments.finalist_seeds,
        evaluate=not arguments.no_evaluate,
        cpus_per_trial=arguments.cpus_per_trial,
        gpus_per_trial=arguments.gpus_per_trial,
        max_concurrent=arguments.max_concurrent,
        time_budget_s=arguments.time_budget,
    )


def _parser() -> Parser:
    parser = Parser(prog="python -m tune", description="Search for the VAE with the best embedding.")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="search|resume|extend|status", parser_class=Parser
    )

    find = commands.add_parser(
        "search", help="search, then evaluate the best against raw pixels, PCA and UMAP"
    )
    what = find.add_argument_group("what to search")
    what.add_argument(
        "--dataset", default="fmnist", help="fmnist, mnist, digits, or a path to images (%(default)s)"
    )
    what.add_argument("--data-dir", type=Path, help="where data sets are kept ($VAE_DATA_DIR or ./data)")
    what.add_argument("--space", type=Path, default=DEFAULT_SPACE, help="YAML search space (tune/space.yaml)")
    what.add_argument(
        "--objective",
        action="append",
        help=f"one of {', '.join(MODES)} (val_knn_accuracy; without labels val_ssim); give it twice for a "
        "Pareto front, weak trials are stopped by the first",
    )
    what.add_argument(
        "--warm-start", type=Path, metavar="RUN", help="try the best configurations of another study first"
    )
    what.add_argument(
        "--seed", type=_whole(0), default=0, help="seed of splits, proposals and trials (%(default)s)"
    )
    how = find.add_argument_group("how long")
    how.add_argument("--trials", type=_whole(1), default=20, help="configurations to try (%(default)s)")
    how.add_argument("--max-epochs", type=_whole(1), default=8, help="full budget of a trial (%(default)s)")
    how.add_argument(
        "--grace-period",
        type=_whole(1),
        help="epochs before a trial can be stopped (a quarter of the budget)",
    )
    how.add_argument(
        "--reduction-factor",
        type=_number(1),
        default=3.0,
        help="one of so many goes on at a rung (%(default)g)",
    )
    how.add_argument(
        "--time-budget",
        type=_duration,
        help="end all of it, the evaluation included, within for example 90s, 30m or 1h30m",
    )
    how.add_argument("--sampler", default="tpe", help=f"one of {', '.join(SAMPLERS)} (%(default)s)")
    how.add_argument(
        "--scheduler", default="asha", help=f"what stops weak trials: {', '.join(SCHEDULERS)} (%(default)s)"
    )
    how.add_argument(
        "--min-active-units",
        type=_whole(0),
        default=1,
        help="a trial with fewer active latent dimensions after the grace period has collapsed and is "
        "stopped (%(default)s)",
    )
    how.add_argument(
        "--finalists", type=_whole(1), default=3, help="best trials that are evaluated (%(default)s)"
    )
    how.add_argument(
        "--finalist-seeds",
        type=_whole(0),
        default=0,
        help="train each finalist anew with so many fresh seeds, for an interval (%(default)s)",
    )
    how.add_argument("--no-evaluate", action="store_true", help="stop after the search")
    where = find.add_argument_group("where")
    where.add_argument("--name", help="name of the run (<dataset>-<time>)")
    where.add_argument("--storage", default="runs", help="directory of all runs (%(default)s)")
    where.add_argument(
        "--address", help="Ray cluster to join: auto or HOST[:PORT] (a new one on this machine)"
    )
    where.add_argument("--cpus-per-trial", type=_number(0), help="CPUs of a trial, also its threads (1)")
    where.add_argument(
        "--gpus-per-trial",
        type=_number(0, inclusive=True),
        help="share of a GPU (0.25 where there are any, else 0)",
    )
    where.add_argument("--max-concurrent", type=_whole(1), help="trials at once (as many as fit)")

    go_on = commands.add_parser("resume", help="continue a study that was interrupted or killed")
    more = commands.add_parser("extend", help="add trials or epochs to a finished study")
    more.add_argument("--trials", type=_whole(1), default=0, help="how many more")
    more.add_argument(
        "--max-epochs",
        type=_whole(1),
        help="the new full budget: completed trials and promising stopped ones go on to it",
    )
    more.add_argument("--finalists", type=_whole(1), help="best trials that are evaluated")
    more.add_argument("--finalist-seeds", type=_whole(0), help="fresh seeds for each finalist")
    for command in (go_on, more):
        command.add_argument("run", type=Path, help="directory of the run")
        command.add_argument(
            "--time-budget", type=_duration, help="end within for example 30m, evaluation included"
        )
        command.add_argument("--address", help="Ray cluster to join (a new one on this machine)")

    show = commands.add_parser("status", help="the trials of a study, while it runs or afterwards")
    show.add_argument("run", type=Path, help="directory of the run")
    for command in (find, go_on, more):
        command.add_argument("--no-dashboard", action="store_true", help="start without Ray's dashboard")
    for command in (find, go_on, more, show):
        command.add_argument("-v", "--verbose", action="store_true", help="more log lines")
    return parser


def _whole(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[-+]?\d+", text) or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"must be a whole number >= {minimum}, got '{text}'")
        return int(text)

    return parse


def _number(minimum: float, *, inclusive: bool = False) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (minimum < value < math.inf or (inclusive and value == minimum)):
            raise argparse.ArgumentTypeError(
                f"must be a number {'>=' if inclusive else '>'} {minimum:g}, got '{text}'"
            )
        return value

    return parse


def _duration(text: str) -> float:
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text.strip())
    seconds = (
        sum(int(n or 0) * unit for n, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0
    )
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"must be a time such as 90s, 30m or 1h30m, got '{text}'")
    return float(seconds)


def cli() -> NoReturn:
    """Entry point of the console script."""
    run(main)


if __name__ == "__main__":
    cli()
