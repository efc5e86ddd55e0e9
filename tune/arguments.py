"""The words of `python -m tune`: what each command takes, and the plan that a search is asked for."""

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path

from tune.algorithms.objective import MODES
from tune.algorithms.samplers import SAMPLERS
from tune.algorithms.stopping_rules import SCHEDULERS
from tune.space.file import DEFAULT_SPACE, load_space
from tune.storage.filesystems import parse_location
from tune.study.plan import Plan
from vae.command_line import Parser


def plan_from_arguments(arguments: argparse.Namespace) -> Plan:
    """Return what a search is asked for, checked as far as that takes neither data nor a cluster.

    Raises
    ------
    UsageError
        A value is out of range or the space file is wrong.
    StorageError
        The space file cannot be read.
    """
    return Plan(
        dataset=arguments.dataset,
        data_dir=arguments.data_dir,
        name=arguments.name,
        storage=arguments.storage,
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


def make_parser() -> Parser:
    """Return the parser of all commands; ``command`` is the one that was given."""
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
        "--warm-start",
        type=parse_location,
        metavar="RUN",
        help="try the best configurations of another study first",
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
        type=duration,
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
    where.add_argument(
        "--storage",
        type=parse_location,
        default="runs",
        help="directory of all runs, or a URI such as s3://bucket/prefix (%(default)s)",
    )
    where.add_argument(
        "--address", help="Ray cluster to join: auto or HOST[:PORT] (a new one on this machine)"
    )
    where.add_argument("--cpus-per-trial", type=_number(0), help="CPUs of a trial, also its threads (1)")
    where.add_argument(
        "--gpus-per-trial",
        type=_number(0, inclusive=True),
        help="share of a GPU (where there are any: as measured with the largest model of the space)",
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
        command.add_argument("run", type=parse_location, help="directory or URI of the run")
        command.add_argument(
            "--time-budget", type=duration, help="end within for example 30m, evaluation included"
        )
        command.add_argument("--address", help="Ray cluster to join (a new one on this machine)")
        command.add_argument(
            "--data-dir", type=Path, help="where data sets are kept, if not where the search found its own"
        )

    show = commands.add_parser("status", help="the trials of a study, while it runs or afterwards")
    show.add_argument("run", type=parse_location, help="directory or URI of the run")
    show.add_argument("--watch", action="store_true", help="show them until the study ends or Ctrl-C")
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


def duration(text: str) -> float:
    """Return the seconds of a time such as 90s, 30m or 1h30m."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text.strip())
    seconds = (
        sum(int(n or 0) * unit for n, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0
    )
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"must be a time such as 90s, 30m or 1h30m, got '{text}'")
    return float(seconds)
