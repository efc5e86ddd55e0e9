"""The arguments of `python -m tune`: those of a search are the fields of its `Plan`."""

import argparse
from dataclasses import fields
from typing import Any

from tune.study.plan import Plan
from vae.command_line import Parser

METAVARS = {"warm_start": "RUN", "resize": "N"}


def plan_from_arguments(arguments: argparse.Namespace) -> Plan:
    """Return what a search is asked for, checked as far as that takes neither data nor a cluster.

    Raises
    ------
    UsageError
        A value is out of range or the space file is wrong.
    StorageError
        The space file cannot be read.
    """
    return Plan(**{f.name: getattr(arguments, f.name) for f in fields(Plan)})


def make_parser() -> Parser:
    """Return the parser of all commands; ``command`` is the one that was given."""
    parser = Parser(prog="python -m tune", description="Search for the VAE with the best embedding.")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="search|plan|resume|extend|status", parser_class=Parser
    )
    find = commands.add_parser(
        "search", help="search, then evaluate the best against raw pixels, PCA and UMAP"
    )
    price = commands.add_parser(
        "plan", help="how long such a search would take, and what it would cost; nothing is written"
    )
    for command in (find, price):
        groups: dict[str, Any] = {}
        for f in fields(Plan):
            title = f.metadata["group"]
            if title not in groups:
                groups[title] = command.add_argument_group(title)
            _add(groups[title], f.name, default=f.default)
        address = "Ray cluster to join: auto or HOST[:PORT] (a new one on this machine)"
        groups[title].add_argument("--address", help=address)
    price.add_argument(
        "--price-per-hour", type=float, metavar="PRICE", help="of all machines together, to say the price"
    )

    resume = commands.add_parser("resume", help="continue a study that was interrupted or killed")
    extend = commands.add_parser("extend", help="add trials or budget to a finished study")
    _add(extend, "trials", help="how many more", default=0)
    _add(
        extend,
        "budget",
        help="the new full budget: completed trials and promising stopped ones are trained up to it",
    )
    _add(extend, "max_epochs")
    _add(extend, "finalists", help="best trials that are evaluated")
    _add(extend, "finalist_seeds", help="fresh seeds for each finalist")
    _add(extend, "patience")
    _add(extend, "target", help="end when a fully trained trial reaches it (the study's own, if not reached)")
    for command in (resume, extend):
        command.add_argument("run", help="directory or URI of the run")
        _add(command, "time_budget_s", help="end within for example 30m, evaluation included")
        _add(command, "finalists_per_dim")
        command.add_argument("--address", help="Ray cluster to join (a new one on this machine)")
        _add(command, "data_dir", help="where data sets are kept, if not where the search found them")

    show = commands.add_parser("status", help="the trials of a study, or all studies of a folder")
    show.add_argument("run", help="directory or URI of the run, or of a folder of runs")
    show.add_argument("--watch", action="store_true", help="show them until none runs, or Ctrl-C")
    for command in (find, price, resume, extend):
        command.add_argument("--no-dashboard", action="store_true", help="start without Ray's dashboard")
    for command in (find, price, resume, extend, show):
        command.add_argument("-v", "--verbose", action="store_true", help="more log lines")
    return parser


def _add(group: Any, name: str, *, default: Any = None, help: str = "") -> None:
    """Add the argument of a field of `Plan`, which checks the value later on."""
    f = next(f for f in fields(Plan) if f.name == name)
    flag = f"--{f.metadata['flag'] or name.replace('_', '-')}"
    options: dict[str, Any] = {"dest": name, "default": default, "help": help or f.metadata["help"]}
    if f.type is bool:
        group.add_argument(flag, action="store_false" if f.default else "store_true", **options)
        return
    options["metavar"] = METAVARS.get(name, flag[2:].replace("-", "_").upper())
    if name == "objectives":
        options["action"] = "append"
    elif f.metadata["rule"] and name != "time_budget_s":
        options["type"] = _number
    group.add_argument(flag, **options)


def _number(text: str) -> int | float | str:
    """Return the number that a text is, or the text, which `Plan` refuses."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
