"""`python -m evaluation`: a study's finalists, or bare checkpoints, against raw pixels, PCA and UMAP."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from evaluation.api import evaluate_checkpoints, evaluate_precomputed, evaluate_run
from evaluation.embedders import METHODS
from evaluation.export.atlas import MAX_IMAGES as ATLAS_IMAGES
from evaluation.export.atlas import write_atlas
from evaluation.export.image_sample import sample_images
from evaluation.export.projector import MAX_IMAGES as PROJECTOR_IMAGES
from evaluation.export.projector import write_projector
from evaluation.pipeline.plan import Options
from evaluation.report.compare_studies import compare_runs
from evaluation.report.summary import print_summary
from evaluation.scores.protocols import ALL_IMAGES_K10, KnnGrid
from tune.storage.filesystems import is_uri, parse_location
from tune.storage.run_directory import RunDirectory
from tune.study.ranking import DEFAULT_FINALISTS
from vae.checkpoint import CONFIG_FILE
from vae.command_line import Parser, configure_logging, run
from vae.data import load_dataset
from vae.errors import UsageError


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]](words[1:])
    arguments = _parser().parse_args(words)
    configure_logging(arguments.verbose)
    if arguments.address is not None and arguments.cpus is not None:
        raise UsageError("--cpus is for a cluster that is started on this machine: leave it or --address out")
    options = Options(
        methods=arguments.methods,
        dims=arguments.dims,
        grid=_grid(arguments.k),
        seed=arguments.seed,
        address=arguments.address,
        cpus=_positive(arguments.cpus),
    )
    console = Console()
    path = arguments.run
    if isinstance(path, Path) and path.suffix == ".parquet":
        if arguments.output is None or arguments.dataset is not None:
            raise UsageError(f"{path} is an embedding: give a directory with --output, and no --dataset")
        output = _new_output(arguments.output)
        evaluate_precomputed(path, output, options=options, console=console)
    elif isinstance(path, Path) and (checkpoints := _checkpoints(path)):
        if arguments.dataset is None or arguments.output is None:
            what = "is a checkpoint" if checkpoints == [path] else "holds checkpoints"
            raise UsageError(f"{path} {what}: name the images with --dataset and a directory with --output")
        output = _new_output(arguments.output)
        dataset = load_dataset(arguments.dataset, arguments.data_dir)
        evaluate_checkpoints(checkpoints, dataset, output, options=options, console=console)
    else:
        output = RunDirectory.open(path)
        if arguments.dataset is not None or arguments.output is not None:
            raise UsageError("--dataset and --output are for checkpoints: a run has its own of both")
        evaluate_run(
            output,
            finalists=arguments.finalists,
            data_dir=arguments.data_dir,
            options=options,
            console=console,
        )
    print_summary(output, console)
    return 0


def _compare(words: list[str]) -> int:
    parser = Parser(prog="python -m evaluation compare", description="Two studies side by side.")
    parser.add_argument("first", type=parse_location, metavar="RUN_A", help="an evaluated study or --output")
    parser.add_argument("second", type=parse_location, metavar="RUN_B", help="another, of the same images")
    arguments = parser.parse_args(words)
    first, second = (_evaluated(path) for path in (arguments.first, arguments.second))
    compare_runs(first, second, Console())
    return 0


def _projector(words: list[str]) -> int:
    arguments = _for_a_tool("projector", "The embeddings of RUN for TensorBoard's projector.", words)
    run = _evaluated(arguments.run)
    shown = sample_images(run, PROJECTOR_IMAGES, dataset=arguments.dataset, data_dir=arguments.data_dir)
    directory = _place(run, arguments.output).projector_dir
    write_projector(run, shown, directory)
    _say(f"{len(shown.keys)} embeddings of {len(shown.index):,} test images; look at them with")
    _say(f"tensorboard --logdir {directory}")
    return 0


def _atlas(words: list[str]) -> int:
    arguments = _for_a_tool("atlas", "The latent spaces of RUN for Embedding Atlas.", words)
    run = _evaluated(arguments.run)
    shown = sample_images(run, ATLAS_IMAGES, dataset=arguments.dataset, data_dir=arguments.data_dir)
    file = _place(run, arguments.output).atlas_file
    options = write_atlas(run, shown, file)
    _say(f"{len(shown.index):,} test images; look at them with (after `pip install embedding-atlas`)")
    _say(f"embedding-atlas {file} {' '.join(options)}")
    return 0


COMMANDS = {"compare": _compare, "projector": _projector, "atlas": _atlas}


def _for_a_tool(name: str, what: str, words: list[str]) -> argparse.Namespace:
    parser = Parser(prog=f"python -m evaluation {name}", description=what)
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


def _place(run: RunDirectory, output: Path | None) -> RunDirectory:
    """Return where a tool's files go: tools read what is on this machine."""
    return RunDirectory(output or (Path(run.path.name) if run.mirror else run.path))


def _say(text: str) -> None:
    Console().print(text, highlight=False, soft_wrap=True)


def _evaluated(place: str | Path) -> RunDirectory:
    """Return a study, or what an evaluation of checkpoints or embeddings has left."""
    run = RunDirectory.resolve(place)
    return run if run.evaluation_file.is_file() else RunDirectory.open(place)


def _new_output(path: Path) -> RunDirectory:
    output = RunDirectory(path)
    if output.study_file.exists():
        raise UsageError(f"--output {path} is the run directory of a study, whose evaluation would be lost")
    return output


def _parser() -> Parser:
    parser = Parser(
        prog="python -m evaluation",
        description=__doc__,
        epilog="Two studies side by side: python -m evaluation compare RUN_A RUN_B. For other tools: "
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
        help="dimensions of PCA, UMAP and PaCMAP (default: 2,10, for PCA the VAEs' own too, for t-SNE and "
        "vae_umap 2)",
    )
    parser.add_argument(
        "--k",
        type=_numbers,
        metavar="N,…",
        help=f"numbers of neighbours (default: {','.join(map(str, KnnGrid().n_neighbors))}); the tables show "
        f"those of {ALL_IMAGES_K10.n_neighbors}, which are always counted",
    )
    parser.add_argument(
        "--finalists",
        type=int,
        default=DEFAULT_FINALISTS,
        metavar="N",
        help="best trials to take (default: %(default)s)",
    )
    parser.add_argument("--dataset", help="images of checkpoints: fmnist, mnist, digits or a path")
    parser.add_argument(
        "--output", type=_local, metavar="DIR", help="where the results of checkpoints or embeddings go"
    )
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where the dataset lies")
    parser.add_argument(
        "--address", help="Ray cluster to join: auto or HOST[:PORT] (default: a new one on this machine)"
    )
    parser.add_argument("--cpus", type=int, metavar="N", help="CPUs of a new one (default: all)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of what is random (default: %(default)s)"
    )
    parser.add_argument("--verbose", action="store_true", help="log details")
    return parser


def _local(text: str) -> Path:
    if is_uri(text):
        raise argparse.ArgumentTypeError(f"must be a directory of this machine, got '{text}'")
    return Path(text)


def _checkpoints(path: Path) -> list[Path]:
    """Return the checkpoint that ``path`` is, or those that lie in it; none if it is a run directory."""
    if (path / CONFIG_FILE).is_file():
        return [path]
    if not path.is_dir() or RunDirectory(path).study_file.exists():
        return []
    return sorted(file.parent for file in path.glob(f"*/{CONFIG_FILE}"))


def _grid(ks: list[int] | None) -> KnnGrid:
    if ks is None:
        return KnnGrid()
    if not ks or min(ks) < 1:
        raise UsageError(f"--k must be numbers >= 1, got {','.join(map(str, ks)) or 'none'}")
    return KnnGrid(n_neighbors=tuple(sorted({*ks, ALL_IMAGES_K10.n_neighbors})))


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers between commas, got '{text}'") from None


def _positive(cpus: int | None) -> int | None:
    if cpus is not None and cpus < 1:
        raise UsageError(f"--cpus must be >= 1, got {cpus}")
    return cpus


def cli() -> NoReturn:
    """Entry point of the console script."""
    run(main)


if __name__ == "__main__":
    cli()
