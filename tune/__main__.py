"""`python -m tune`: search, plan, resume, extend and status."""

import argparse
import contextlib
import functools
from collections.abc import Callable
from typing import NoReturn

from rich.console import Console

from tune import start_time  # first of all
from tune.arguments import make_parser, plan_from_arguments
from tune.callbacks.progress import make_console
from tune.cluster.nodes import cluster_nodes
from tune.driver import Driver
from tune.overview import StudyFolder
from tune.price import print_price
from tune.status import StudyView, View, watch_status
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyStatus
from tune.study.session import StudySession
from vae.command_line import EXIT_FAILURE, EXIT_INTERRUPTED, configure_logging, run
from vae.config import ModelConfig
from vae.errors import Error, UsageError


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = make_parser().parse_args(argv)
    configure_logging(arguments.verbose)
    if arguments.command == "status":
        return status(arguments)
    plan = plan_from_arguments(arguments) if arguments.command in ("search", "plan") else None
    if plan is not None and arguments.command == "plan":
        print_price(
            plan,
            make_console(),
            evaluation=_Evaluation(),
            price_per_hour=arguments.price_per_hour,
            address=arguments.address,
            dashboard=not arguments.no_dashboard,
            started=start_time.STARTED,
        )
        return 0
    driver = Driver(
        console=make_console(),
        address=arguments.address,
        dashboard=not arguments.no_dashboard,
        evaluation=_Evaluation(),
        started=start_time.STARTED,
    )
    if plan is not None:
        return _exit_code(driver.search(plan))
    run, changes = RunDirectory.open(arguments.run), {"data_dir": arguments.data_dir}
    if arguments.command == "resume":
        changes["finalists_per_dim"] = arguments.finalists_per_dim
        return _exit_code(driver.resume(run, time_budget=arguments.time_budget_s, **changes))
    added = (
        "trials",
        "budget",
        "max_epochs",
        "finalists",
        "finalists_per_dim",
        "finalist_seeds",
        "patience",
        "target",
    )
    for name in added:
        changes[name] = getattr(arguments, name)
    return _exit_code(driver.extend(run, time_budget=arguments.time_budget_s, **changes))


def status(arguments: argparse.Namespace) -> int:
    """Print the trials of a study, or the studies of a folder, once or until they end."""
    run, console = RunDirectory.resolve(arguments.run), make_console()
    read: Callable[[], View]
    if run.study_file.is_file():
        read = functools.partial(StudyView.read, run)
    elif run.exists():
        read = StudyFolder(run, _Evaluation().test_accuracy).read
    else:
        raise UsageError(f"no run directory at {arguments.run}; `python -m tune search` makes one")
    if not arguments.watch:
        console.print(read().view(console))
        return 0
    with contextlib.suppress(KeyboardInterrupt):  # the usual way to leave it
        watch_status(read, console)
    return 0


class _Evaluation:
    """The end of the commands: finalists against raw pixels, PCA and UMAP; imported when it is needed."""

    def test_accuracy(self, run: RunDirectory) -> float | None:
        """Return the KNN accuracy of the best finalist on the test set; None without a current evaluation."""
        if not run.evaluation_file.exists():
            return None  # before the imports, which take seconds
        from evaluation.analysis.headline import winners_test_accuracy

        return winners_test_accuracy(run)

    def seconds(self, session: StudySession) -> float:
        """Return what the evaluation will take at most, on the connected cluster."""
        from evaluation.pipeline.cost import estimate_seconds

        data, plan = session.data, session.plan
        latent_dims = [
            dim for branch in plan.space.entries.get("latent_dim", ()) for dim in branch.domain.examples
        ]
        return estimate_seconds(
            n_train=len(data.train_images) + len(data.validation_images),
            n_test=session.record.dataset.n_test,
            n_pixels=data.train_images[0].size,
            n_finalists=plan.most_finalists,
            n_seeds=plan.finalist_seeds,
            latent_dim=max(latent_dims, default=ModelConfig().latent_dim),
            n_slots=max(1, cluster_nodes().cpus),
            labelled=data.labelled,
        )

    def run(self, session: StudySession, console: Console) -> None:
        """Evaluate the finalists and print the comparison."""
        from evaluation.api import evaluate
        from evaluation.report.summary import print_summary

        plan = session.plan
        evaluate(
            session.run,
            finalists=plan.finalists,
            finalists_per_dim=plan.finalists_per_dim,
            progress=console,
        )
        print_summary(session.run, console)

    def report(self, session: StudySession, console: Console) -> None:
        """Write the report of a search that is not evaluated; what an earlier evaluation drew is kept."""
        from evaluation.analysis.gain import gain_sentence
        from evaluation.analysis.results import Results
        from evaluation.report.page import write_report
        from tune.study.images import load_images

        run, dataset = session.run, None
        if run.evaluation_file.exists():  # loaded again, as a search keeps no test images
            with contextlib.suppress(Error):
                dataset = load_images(run, session.record.dataset)
        write_report(run, dataset, search_only=True)
        if sentence := gain_sentence(Results.read(run)):
            console.print(sentence, highlight=False)


def _exit_code(session: StudySession | None) -> int:
    """Return how a command ends; without a session there was nothing to do."""
    if session is None:
        return 0
    if session.record.status is StudyStatus.INTERRUPTED:
        return EXIT_INTERRUPTED
    return 0 if session.best is not None else EXIT_FAILURE


def cli() -> NoReturn:
    """Entry point of the console script."""
    run(main)


if __name__ == "__main__":
    cli()
