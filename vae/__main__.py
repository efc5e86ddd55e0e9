"""`python -m vae train` and `python -m vae evaluate`: one VAE, no Ray."""

import argparse
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from vae.api import choose_device, diverged, load, validation_knn
from vae.checkpoint import read_config
from vae.command_line import Parser, configure_logging, run
from vae.config import PARAMS, Config
from vae.data import load_dataset
from vae.data.dataset import split_validation
from vae.errors import UsageError
from vae.metrics.panel import evaluate_panel
from vae.metrics.unlabelled import UnlabelledScores
from vae.models import count_parameters
from vae.training.best_model import BestModel
from vae.training.loop import EpochEnd, check_fit, train
from vae.training.state import STATE_FILE, load_state
from vae.training.tensorboard import TensorBoard

logger = logging.getLogger("vae")  # not __name__, which is that of whatever is run

PANEL = ("val_loss", "val_ssim", "val_mse", "val_psnr", "val_kl", "active_units")


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    configure_logging(arguments.verbose)
    command: Callable[[argparse.Namespace], int] = arguments.command
    return command(arguments)


def _parser() -> Parser:
    parser = Parser(prog="python -m vae", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="train|evaluate")

    training = commands.add_parser("train", help="train one VAE", description="Train one VAE.")
    training.set_defaults(command=train_command)
    _add_common(training, default="fmnist")
    training.add_argument(
        "--resize",
        type=int,
        metavar="N",
        help="scale each image's shorter side to N pixels, 8 to 64, and cut out the middle",
    )
    place = training.add_mutually_exclusive_group()
    place.add_argument("--name", help="name of the run, kept in runs/<name> (default: vae-<time>)")
    place.add_argument("--output", type=Path, help="directory of the run, instead of --name")
    training.add_argument("--resume", action="store_true", help="continue the run of that name or directory")
    training.add_argument(
        "--print-every", type=int, default=1, metavar="N", help="print every Nth epoch (default: %(default)s)"
    )
    training.add_argument(
        "--tensorboard",
        action="store_true",
        help="write curves, histograms and hyperparameters to tensorboard/ in the run",
    )
    training.add_argument(
        "--tensorboard-images",
        action="store_true",
        help="the same with reconstructions, samples and the latent space",
    )
    hyperparameters = training.add_argument_group("hyperparameters")
    for name, field in PARAMS.items():
        flag, help = f"--{name.replace('_', '-')}", field.metadata["help"]
        if field.type is bool:
            hyperparameters.add_argument(flag, action="store_true", help=help)
            continue
        many = field.type == tuple[int, ...]
        default = {"milestones": "none", "schedule_epochs": "max_epochs"}.get(name, field.default)
        hyperparameters.add_argument(
            flag,
            type=int if many else field.type,
            nargs="*" if many else None,
            default=field.default,
            help=f"{help} (default: {default})",
        )

    evaluation = commands.add_parser(
        "evaluate", help="measure a checkpoint", description="Print the neutral panel of a checkpoint."
    )
    evaluation.set_defaults(command=evaluate_command)
    _add_common(evaluation, default=None)
    evaluation.add_argument("checkpoint", type=Path, help="directory with model.safetensors and config.json")
    evaluation.add_argument(
        "--split", choices=("validation", "test"), default="validation", help="(default: %(default)s)"
    )
    evaluation.add_argument(
        "--seed", type=int, help="seed of the validation split (default: that of the training)"
    )
    return parser


def _add_common(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    parser.add_argument(
        "--dataset", default=default, help="fmnist, mnist, digits or a path (default: fmnist)"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="where data sets are kept (default: $VAE_DATA_DIR or ./data)"
    )
    parser.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda if there is one)")
    parser.add_argument("--verbose", action="store_true", help="log details")


def train_command(arguments: argparse.Namespace) -> int:
    """Train one VAE; keep the last state and the model of the epoch with the lowest ``val_loss``.

    A search keeps the epoch with the best objective instead, by default the highest ``val_knn_accuracy``.
    """
    config = Config.from_params({name: getattr(arguments, name) for name in PARAMS})
    device = choose_device(arguments.device)
    if arguments.print_every < 1:
        raise UsageError(f"--print-every must be >= 1, got {arguments.print_every}")
    output = arguments.output or Path("runs") / (
        arguments.name or time.strftime("vae-%Y%m%d-%H%M%S", time.gmtime())
    )
    has_state = (output / STATE_FILE).exists()
    if arguments.resume and not has_state:
        raise UsageError(f"--resume needs the --name or --output of a run, {output} has no {STATE_FILE}")
    if has_state and not arguments.resume:
        raise UsageError(f"{output} holds a run already; add --resume to continue it or choose another name")
    resize = arguments.resize
    if arguments.resume and resize is None:
        resize = read_config(output).resize
    dataset = load_dataset(arguments.dataset, arguments.data_dir, resize=resize)
    seed = config.training.seed
    split = split_validation(dataset.train, seed=seed)
    # before anything is written
    check_fit(config, dataset.train.image_shape, len(split.train), dataset.train.n_classes)
    epochs_before, state = 0, None
    if arguments.resume:
        state = load_state(output, config, device)
        config, epochs_before = state.config, state.epoch
        if state.dataset != dataset.fingerprint:
            raise UsageError(
                f"{output} was trained on another data set than '{arguments.dataset}'; name it with --dataset"
            )
    best = BestModel(
        output,
        "val_loss",
        split_seed=seed,
        dataset=dataset.fingerprint,
        resize=resize,
        resume=arguments.resume,
    )
    board = None
    if arguments.tensorboard or arguments.tensorboard_images:
        board = TensorBoard(
            output / "tensorboard",
            config,
            dataset,
            split.validation,
            images=arguments.tensorboard_images,
            epochs_before=epochs_before,
        )

    def on_epoch_end(end: EpochEnd) -> None:
        max_epochs = config.training.max_epochs
        if end.epoch == epochs_before + 1:
            size = count_parameters(end.state.model)
            print(
                f"{config.model.architecture}, {size:,} parameters, {len(split.train):,} images on {device}"
            )
            print(_HEADER)
        if end.epoch % arguments.print_every == 0 or end.epoch == max_epochs or end.stop_reason:
            print(_row(end, max_epochs), flush=True)
        if board:
            board.log_epoch(end)
        if end.stop_reason:
            return
        best.update(end)
        end.state.dataset, end.state.resize = dataset.fingerprint, resize
        end.state.save(output)

    result = train(
        config,
        split.train,
        split.validation,
        device=device,
        resume_from=state,
        knn=validation_knn(split.train, split.validation, seed, device),
        on_epoch_end=on_epoch_end,
    )
    if result.stop_reason == "nan":
        raise diverged(config, epochs_before + len(result.history))
    if not result.history:
        epochs = config.training.max_epochs
        print(f"{output} has trained its {epochs} epochs already; raise --max-epochs to continue")
    print(f"Model, config and state are in {output}")
    return 0


_HEADER = f"{'epoch':>9} {'train loss':>11} {' '.join(f'{name:>12}' for name in PANEL)} {'images/s':>9}"


def _row(end: EpochEnd, max_epochs: int) -> str:
    values = " ".join(f"{end.metrics[name]:>12.4f}" for name in PANEL)
    loss, speed = end.metrics["train_loss"], end.metrics["images_per_second"]
    return f"{end.epoch:>4}/{max_epochs:<4} {loss:>11.3f} {values} {speed:>9,.0f}"


def evaluate_command(arguments: argparse.Namespace) -> int:
    """Print the neutral panel of a checkpoint on the validation or the test images.

    They should be those of the data set that it was trained on; others must be named.
    """
    loaded = load(arguments.checkpoint, arguments.device)
    dataset = load_dataset(arguments.dataset or "fmnist", arguments.data_dir, resize=loaded.resize)
    if dataset.train.image_shape != loaded.image_shape:
        raise UsageError(
            f"{arguments.checkpoint} was trained on images {loaded.image_shape}, "
            f"{dataset.name} has {dataset.train.image_shape} (channels, height, width)"
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
        f"{len(images):,} images"
    )
    for name in (*PANEL, "val_neighbour_recall", "val_rankme"):
        print(f"{name.removeprefix('val_'):>16} {panel[name]:10.4f}")
    return 0


def cli() -> NoReturn:
    """Entry point of the console script."""
    run(main)


if __name__ == "__main__":
    cli()
