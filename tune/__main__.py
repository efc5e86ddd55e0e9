"""`python -m tune search` and `python -m tune status`: the command line of the search."""

import argparse
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from evaluation.run_directory import RunDirectory
from evaluation.tables import CONFIG_PREFIX
from tune import STARTED
from tune.cluster import ray_session
from tune.interruption import Interruption
from tune.objective import MODES
from tune.outcome import INTERRUPTED
from tune.progress import SHOWN_PARAMS, make_console
from tune.scheduler import rung_epochs
from tune.searcher import make_sampler
from tune.space_file import DEFAULT_SPACE, load_space
from tune.status import print_status
from tune.study import Plan, Study, new_study, run_search
from vae.command_line import INTERRUPTED as INTERRUPTED_CODE
from vae.command_line import Parser, configure_logging, run
from vae.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    configure_logging(arguments.verbose)
    command = {"search": search, "status": status}[arguments.command]
    return command(arguments)


def search(arguments: argparse.Namespace) -> int:
    """Search, evaluate, and say what was found and where it is."""
    console = make_console()
    plan = _plan(arguments)
    interruption = Interruption(plan.time_budget_s)
    with new_study(plan) as study, ray_session(arguments.address) as dashboard:
        console.print(
            f"[bold]{study.record['name']}[/]: {plan.trials} trials of up to {plan.max_epochs} epochs on "
            f"{study.record['dataset']['name']}, by {study.objective.name}"
        )
        if dashboard:
            console.print(f"dashboard {dashboard}")
        study.record["timings"]["start_s"] = time.perf_counter() - STARTED
        run_search(study, console, interruption)
        _print_best(study, console)
        interrupted = interruption.reason == INTERRUPTED
        if interrupted or study.best is None or arguments.no_evaluate:
            _report(study)
        if interrupted:
            console.print(f"interrupted; what was done is in {study.run.path}")
            return INTERRUPTED_CODE
        if study.best is None:
            console.print(f"no trial trained its full budget, see {study.run.trials_file}", style="red")
            return 1
        if not arguments.no_evaluate:
            _evaluate(study, console)
        console.print(f"everything is in {study.run.path}")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Print the trials of a study."""
    print_status(RunDirectory.open(arguments.run), make_console())
    return 0


def _evaluate(study: Study, console: Console) -> None:
    # Seconds of imports that only this needs.
    from evaluation.evaluate import evaluate_run
    from evaluation.summary import print_summary

    begun = time.perf_counter()
    evaluate_run(study.run, finalists=study.plan.finalists, console=console)
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
        score = f"{study.objective.name} {best['objective']:.4f} at epoch {best['best_epoch']}"
        console.print(f"[bold green]best[/] [bold]{best['trial_id']}[/]: {score} ({params})")


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _plan(arguments: argparse.Namespace) -> Plan:
    """Check what can be checked without data or cluster."""
    make_sampler(arguments.sampler, arguments.seed)
    grace_period = arguments.grace_period or max(1, arguments.max_epochs // 4)
    rung_epochs(arguments.max_epochs, grace_period, arguments.reduction_factor)
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
        grace_period=grace_period,
        reduction_factor=arguments.reduction_factor,
        space=load_space(arguments.space),
        objective=arguments.objective,
        sampler=arguments.sampler,
        seed=arguments.seed,
        finalists=arguments.finalists,
        cpus_per_trial=arguments.cpus_per_trial,
        gpus_per_trial=arguments.gpus_per_trial,
        max_concurrent=arguments.max_concurrent,
        time_budget_s=arguments.time_budget,
    )


def _parser() -> Parser:
    parser = Parser(prog="python -m tune", description="Search for the VAE with the best embedding.")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="search|status", parser_class=Parser
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
        "--objective", help=f"one of {', '.join(MODES)} (val_knn_accuracy; without labels val_ssim)"
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
        "--time-budget", type=_duration, help="end the trials after, for example, 90s, 30m or 1h30m"
    )
    how.add_argument("--sampler", default="tpe", help="tpe or random (%(default)s)")
    how.add_argument(
        "--finalists", type=_whole(1), default=3, help="best trials that are evaluated (%(default)s)"
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

    show = commands.add_parser("status", help="the trials of a study, while it runs or afterwards")
    show.add_argument("run", type=Path, help="directory of the run")
    for command in (find, show):
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
