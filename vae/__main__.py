"""`python -m vae train`, `evaluate` and `embed`: one VAE, no Ray."""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from vae.api import load
from vae.command_line import Parser, configure_logging, run
from vae.commands.arguments import add_dataset_arguments, add_place_arguments
from vae.commands.embed import add_arguments as add_embed_arguments
from vae.commands.embed import embed_command
from vae.commands.train import PANEL, train_command
from vae.commands.train import add_arguments as add_train_arguments
from vae.data import load_dataset
from vae.data.splits import split_validation
from vae.errors import UsageError, count_text, notes_kept_back
from vae.metrics.panel import evaluate_panel
from vae.metrics.unlabelled import UnlabelledScores

logger = logging.getLogger("vae")  # not __name__, which is that of whatever is run


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    configure_logging(arguments.verbose)
    command: Callable[[argparse.Namespace], int] = arguments.command
    return command(arguments)


def _parser() -> Parser:
    parser = Parser(prog="python -m vae", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="train|evaluate|embed")

    training = commands.add_parser("train", help="train one VAE", description="Train one VAE.")
    training.set_defaults(command=train_command)
    add_train_arguments(training)

    evaluation = commands.add_parser(
        "evaluate", help="measure a checkpoint", description="Print the neutral panel of a checkpoint."
    )
    evaluation.set_defaults(command=evaluate_command)
    add_dataset_arguments(evaluation)
    evaluation.add_argument("checkpoint", type=Path, help="directory with model.safetensors and config.json")
    evaluation.add_argument(
        "--split", choices=("validation", "test"), default="validation", help="(default: %(default)s)"
    )
    evaluation.add_argument(
        "--seed", type=int, help="seed of the validation split (default: that of the training)"
    )

    embedding = commands.add_parser(
        "embed",
        help="embed images of any number",
        description="Write the embedding of each image of a source to a Parquet file, with the model that a "
        "search has found or a checkpoint. Labels are not needed.",
    )
    embedding.set_defaults(command=embed_command)
    add_embed_arguments(embedding)
    add_place_arguments(embedding)
    return parser


def evaluate_command(arguments: argparse.Namespace) -> int:
    """Print the neutral panel of a checkpoint on the validation or the test images.

    They should be those of the data set that it was trained on; others must be named.
    """
    loaded = load(arguments.checkpoint, arguments.device)
    with notes_kept_back():
        dataset = load_dataset(arguments.dataset or "fmnist", arguments.data_dir, resize=loaded.resize)
        if dataset.train.image_shape != loaded.image_shape:
            raise UsageError(
                f"{arguments.checkpoint} was trained on images {loaded.image_shape}, "
                f"{dataset.name} has {dataset.train.image_shape} (channels, height, width); name the data "
                "set that it was trained on with --dataset"
            )
        if loaded.dataset is None:
            logger.warning("%s does not say which images it was trained on", arguments.checkpoint)
        elif loaded.dataset != dataset.fingerprint:
            other = f"{arguments.checkpoint} was trained on other images than those of {dataset.name}"
            if arguments.dataset is None:
                raise UsageError(f"{other}, the default; name its data set, or another one, with --dataset")
            logger.warning("%s", other)
    if arguments.split == "test":
        images = dataset.test
    else:
        seed = arguments.seed if arguments.seed is not None else loaded.split_seed
        if seed is None:
            raise UsageError(
                f"{arguments.checkpoint} does not say how its validation images were chosen; give --seed"
            )
        images = split_validation(dataset.train, seed=seed).validation
    pixels = images.to(loaded.device).images
    panel = evaluate_panel(loaded.model, pixels, loaded.config.loss, unlabelled=UnlabelledScores(pixels))
    architecture = loaded.config.model.architecture
    print(
        f"{architecture}, epoch {loaded.epoch}, {arguments.split} split of {dataset.name}, "
        f"{count_text(len(images), 'image')}"
    )
    for name in (*PANEL, "val_neighbour_recall", "val_rankme"):
        print(f"{name.removeprefix('val_'):>16} {panel[name]:10.4f}")
    return 0


def cli() -> NoReturn:
    """Entry point of the console script."""
    run(main)


if __name__ == "__main__":
    cli()
