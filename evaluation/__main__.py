"""Compare a study's finalists, or bare checkpoints, with raw pixels, PCA and UMAP; or score an embedding."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from evaluation.embedders import METHODS
from evaluation.scores.settings import ALL_IMAGES_K10, KnnGrid
from tune.storage.filesystems import is_uri, parse_location
from tune.storage.run_directory import RunDirectory
from tune.study.ranking import DEFAULT_FINALISTS
from vae.command_line import Parser, configure_logging, plain_console, run
from vae.errors import UsageError

if TYPE_CHECKING:
    from evaluation.export.image_sample import ImageSample

# What computes is imported where it is used: torch takes seconds, and --help needs none of it.


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]](words[1:])
    arguments = _parser().parse_args(words)
    configure_logging(arguments.verbose)
    if arguments.address is not None and arguments.cpus is not None:
        raise UsageError("--cpus is for a cluster that is started on this machine: leave it or --address out")
    if arguments.cpus is not None and arguments.cpus < 1:
        raise UsageError(f"--cpus must be >= 1, got {arguments.cpus}")
    if arguments.k is not None and min(arguments.k, default=0) < 1:
        raise UsageError(f"--k must be numbers >= 1, got {','.join(map(str, arguments.k)) or 'none'}")

    from evaluation.api import evaluate
    from evaluation.report.summary import print_summary

    _check_dataset_and_output(arguments)
    console = plain_console()
    result = evaluate(
        arguments.run,
        methods=arguments.methods,
        dims=arguments.dims,
        finalists=arguments.finalists,
        finalists_per_dim=arguments.finalists_per_dim,
        dataset=arguments.dataset,
        data_dir=arguments.data_dir,
        output=arguments.output,
        seed=arguments.seed,
        n_neighbors=arguments.k,
        address=arguments.address,
        cpus=arguments.cpus,
        progress=console,
    )
    print_summary(result.run, console)
    return 0


def _check_dataset_and_output(arguments: argparse.Namespace) -> None:
    """Refuse what does not fit together in the words of the command line."""
    from evaluation.api import find_checkpoints

    path, dataset, output = arguments.run, arguments.dataset, arguments.output
    checkpoints = find_checkpoints(path) if isinstance(path, Path) else []
    if isinstance(path, Path) and path.suffix == ".parquet":
        if output is None or dataset is not None:
            raise UsageError(f"{path} is an embedding: give a directory with --output, and no --dataset")
    elif checkpoints:
        if dataset is None or output is None:
            kind = "is a checkpoint" if checkpoints == [path] else "holds checkpoints"
            raise UsageError(f"{path} {kind}: name the images with --dataset and a directory with --output")
    elif dataset is not None or output is not None:
        raise UsageError("--dataset and --output are for checkpoints: a run has its own of both")
    if output is not None and RunDirectory(output).study_file.exists():
        raise UsageError(f"--output {output} is the run directory of a study, whose evaluation would be lost")


def _compare(words: list[str]) -> int:
    parser = Parser(prog="python -m evaluation compare", description="Studies against the first of them.")
    parser.add_argument(
        "runs", nargs="+", type=parse_location, metavar="RUN", help="an evaluated study or --output"
    )
    parser.add_argument(
        "--output", type=_local, metavar="FILE", help="a figure of it: a file that ends in .png, .svg or .pdf"
    )
    arguments = parser.parse_args(words)

    from evaluation.api import open_evaluated
    from evaluation.report.compare_studies import compare_runs

    compare_runs([open_evaluated(run) for run in arguments.runs], plain_console(), arguments.output)
    return 0


def _projector(words: list[str]) -> int:
    arguments = _for_a_tool("projector", "The embeddings of RUN for TensorBoard's projector.", words)

    from evaluation.export.projector import MAX_IMAGES, write_projector

    run, shown, place = _open_for_a_tool(arguments, MAX_IMAGES)
    directory = place.projector_dir
    write_projector(run, shown, directory)
    _say(f"{len(shown.keys)} embeddings of {len(shown.index):,} test images; look at them with")
    _say(f"tensorboard --logdir {directory}")
    return 0


def _atlas(words: list[str]) -> int:
    arguments = _for_a_tool("atlas", "The latent spaces of RUN for Embedding Atlas.", words)

    from evaluation.export.atlas import MAX_IMAGES, write_atlas

    run, shown, place = _open_for_a_tool(arguments, MAX_IMAGES)
    file = place.atlas_file
    options = write_atlas(run, shown, file)
    _say(f"{len(shown.index):,} test images; look at them with (after `pip install embedding-atlas`)")
    _say(f"embedding-atlas {file} {' '.join(options)}")
    return 0


COMMANDS = {"compare": _compare, "projector": _projector, "atlas": _atlas}


def _for_a_tool(name: str, description: str, words: list[str]) -> argparse.Namespace:
    parser = Parser(prog=f"python -m evaluation {name}", description=description)
    parser.add_argument("run", type=parse_location, metavar="RUN", help="an evaluated study or --output")
    parser.add_argument("--dataset", help="its images, if they are not where the evaluation found them")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where data sets lie")
    parser.add_argument(
        "--output",
        type=_local,
        metavar="DIR",
        help="where to put it (default: RUN; if that is a URI, a directory here that is called like the run)",
    )
    return parser.parse_args(words)


def _open_for_a_tool(
    arguments: argparse.Namespace, at_most: int
) -> tuple[RunDirectory, "ImageSample", RunDirectory]:
    """Return the run, some of its images, and where the files go: tools read what is on this machine."""
    from evaluation.api import open_evaluated
    from evaluation.export import sample_images

    run = open_evaluated(arguments.run)
    shown = sample_images(run, at_most, dataset=arguments.dataset, data_dir=arguments.data_dir)
    if shown.results.outdated:
        _say(shown.results.outdated)
    place = arguments.output or (Path(run.path.name) if run.mirror else run.path)
    return run, shown, RunDirectory(place)


def _say(text: str) -> None:
    plain_console().print(text, soft_wrap=True)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m evaluation",
        description=__doc__,
        epilog="Studies against the first: python -m evaluation compare RUN RUN …. For other tools: "
        "python -m evaluation projector RUN (TensorBoard), python -m evaluation atlas RUN (Embedding Atlas).",
    )
    parser.add_argument(
        "run",
        type=parse_location,
        metavar="RUN",
        help="run directory of a study or its URI, directory of a checkpoint, folder of such directories, or "
        "Parquet file with an embedding of your own in the columns embedding, label and perhaps split",
    )
    parser.add_argument(
        "--methods",
        type=_names,
        metavar="NAME,…",
        help="what to compare: "
        + "; ".join(f"{name}, {method.description}" for name, method in METHODS.items())
        + f" (default: {','.join(name for name, method in METHODS.items() if method.default)})",
    )
    parser.add_argument(
        "--dims",
        type=_numbers,
        metavar="N,…",
        help="dimensions of the baselines (default: 2,10, for PCA the VAEs' own too; tsne and vae_umap 2)",
    )
    parser.add_argument(
        "--k",
        type=_numbers,
        metavar="N,…",
        help=f"numbers of neighbours (default: {','.join(map(str, KnnGrid().n_neighbors))}); the tables show "
        f"{ALL_IMAGES_K10.n_neighbors}, which is always among them",
    )
    parser.add_argument(
        "--finalists",
        type=int,
        default=DEFAULT_FINALISTS,
        metavar="N",
        help="best trials to take (default: %(default)s)",
    )
    parser.add_argument(
        "--finalists-per-dim",
        action="store_true",
        help="take the best trial of each latent dimension that these lack, too",
    )
    parser.add_argument("--dataset", help="images of checkpoints: fmnist, mnist, digits or a path")
    parser.add_argument(
        "--output", type=_local, metavar="DIR", help="where the results of checkpoints or embeddings go"
    )
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where data sets are kept")
    parser.add_argument(
        "--address", help="Ray cluster to join: auto or HOST[:PORT] (default: a new one on this machine)"
    )
    parser.add_argument("--cpus", type=int, metavar="N", help="CPUs of a new Ray cluster (default: all)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of what is random (default: %(default)s)"
    )
    parser.add_argument("--verbose", action="store_true", help="log details")
    return parser


def _local(text: str) -> Path:
    if is_uri(text):
        raise argparse.ArgumentTypeError(f"must be a directory of this machine, got '{text}'")
    return Path(text)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers between commas, got '{text}'") from None


def cli() -> NoReturn:
    """Entry point of the console script."""
    run(main)


if __name__ == "__main__":
    cli()
