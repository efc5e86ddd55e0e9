"""`python -m vae train` and `python -m vae evaluate`: one VAE, no Ray."""

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch

from vae.checkpoint import MODEL_FILE, load_model, save_model
from vae.command_line import Parser, configure_logging, run
from vae.config import PARAMS, Config
from vae.data import load_dataset, split_validation
from vae.errors import UserError
from vae.metrics import evaluate_panel
from vae.models import count_parameters
from vae.state import STATE_FILE, load_state
from vae.training import EpochEnd, check_fit, train

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
    _add_common(training)
    training.add_argument("--output", type=Path, help="directory of the run (default: runs/vae-<time>)")
    training.add_argument("--resume", action="store_true", help="go on with the run in --output")
    training.add_argument("--tensorboard", action="store_true", help="write scalars to <output>/tensorboard")
    hyperparameters = training.add_argument_group("hyperparameters")
    for name, field in PARAMS.items():
        many = name == "milestones"
        hyperparameters.add_argument(
            f"--{name.replace('_', '-')}",
            type=int if many else field.type,
            nargs="*" if many else None,
            default=field.default,
            help=f"{field.metadata['help']} (default: {'none' if many else field.default})",
        )

    evaluation = commands.add_parser(
        "evaluate", help="measure a checkpoint", description="Print the neutral panel of a checkpoint."
    )
    evaluation.set_defaults(command=evaluate_command)
    _add_common(evaluation)
    evaluation.add_argument("checkpoint", type=Path, help="directory with model.safetensors and config.json")
    evaluation.add_argument(
        "--split", choices=("validation", "test"), default="validation", help="(default: %(default)s)"
    )
    evaluation.add_argument(
        "--seed", type=int, help="seed of the validation split (default: that of the training)"
    )
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset", default="fmnist", help="fmnist, mnist, digits or a path (default: %(default)s)"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="where data sets are kept (default: $VAE_DATA_DIR or ./data)"
    )
    parser.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda if there is one)")
    parser.add_argument("--verbose", action="store_true", help="log details")


def train_command(arguments: argparse.Namespace) -> int:
    """Train one VAE; keep the model of the epoch with the lowest validation loss and the last state."""
    config = Config.from_params({name: getattr(arguments, name) for name in PARAMS})
    device = _device(arguments.device)
    output = arguments.output or Path("runs") / time.strftime("vae-%Y%m%d-%H%M%S", time.gmtime())
    has_state = (output / STATE_FILE).exists()
    if arguments.resume and not has_state:
        raise UserError(f"--resume needs a run in --output, {output} has no {STATE_FILE}")
    if has_state and not arguments.resume:
        raise UserError(
            f"{output} holds a run already; add --resume to go on with it or choose another --output"
        )
    dataset = load_dataset(arguments.dataset, arguments.data_dir)
    seed = config.training.seed
    split = split_validation(dataset.train, seed=seed)
    check_fit(config, dataset.train.image_shape, len(split.train))  # before anything is written
    best_loss, epochs_before = math.inf, 0
    if arguments.resume:
        state = load_state(output, config)
        epochs_before = state.epoch
        if state.dataset != dataset.fingerprint:
            raise UserError(
                f"{output} was trained on another data set than '{arguments.dataset}'; name it with --dataset"
            )
        if (output / MODEL_FILE).exists():
            best_loss = load_model(output).metrics["val_loss"]
    log_scalars = _tensorboard_logger(output / "tensorboard") if arguments.tensorboard else None
    shown_header = False

    def on_epoch_end(end: EpochEnd) -> None:
        nonlocal best_loss, shown_header
        if not shown_header:
            size = count_parameters(end.state.model)
            print(
                f"{config.model.architecture}, {size:,} parameters, {len(split.train):,} images on {device}"
            )
            print(
                f"{'epoch':>9} {'train loss':>11} "
                + " ".join(f"{name:>12}" for name in PANEL)
                + f" {'images/s':>9}"
            )
            shown_header = True
        metrics = end.metrics
        values = " ".join(f"{metrics[name]:>12.4f}" for name in PANEL)
        print(
            f"{end.epoch:>4}/{config.training.max_epochs:<4} {metrics['train_loss']:>11.3f} {values} "
            f"{metrics['images_per_second']:>9,.0f}",
            flush=True,
        )
        if log_scalars:
            log_scalars(metrics, end.epoch)
        if end.stop_reason:
            return
        if metrics["val_loss"] < best_loss:
            best_loss = metrics["val_loss"]
            save_model(output, end.state.model, config, epoch=end.epoch, metrics=metrics, split_seed=seed)
        end.state.dataset = dataset.fingerprint
        end.state.save(output)

    result = train(
        config,
        split.train,
        split.validation,
        device=device,
        resume_from=output if arguments.resume else None,
        on_epoch_end=on_epoch_end,
    )
    if result.stop_reason == "nan":
        rate = config.training.learning_rate
        raise UserError(
            f"the loss became non-finite in epoch {epochs_before + len(result.history)}; "
            f"try a --learning-rate below {rate:g}"
        )
    if not result.history:
        epochs = config.training.max_epochs
        print(f"{output} has trained its {epochs} epochs already; raise --max-epochs to go on")
    print(f"Model, config and state are in {output}")
    return 0


def evaluate_command(arguments: argparse.Namespace) -> int:
    """Print the neutral panel of a checkpoint on the validation or the test images."""
    device = _device(arguments.device)
    loaded = load_model(arguments.checkpoint, device)
    dataset = load_dataset(arguments.dataset, arguments.data_dir)
    if dataset.train.image_shape != loaded.image_shape:
        raise UserError(
            f"{arguments.checkpoint} was trained on images {loaded.image_shape}, "
            f"{dataset.name} has {dataset.train.image_shape} (channels, height, width)"
        )
    if arguments.split == "test":
        images = dataset.test
    else:
        seed = arguments.seed if arguments.seed is not None else loaded.split_seed
        if seed is None:
            raise UserError(
                f"{arguments.checkpoint} does not say how its validation images were chosen; give --seed"
            )
        images = split_validation(dataset.train, seed=seed).validation
    panel = evaluate_panel(loaded.model, images.to(device).images, loaded.config.loss)
    architecture = loaded.config.model.architecture
    print(f"{architecture}, epoch {loaded.epoch}, {arguments.split} split, {len(images):,} images")
    for name in PANEL:
        print(f"{name.removeprefix('val_'):>12} {panel[name]:10.4f}")
    return 0


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise UserError(f"device must be cpu, cuda or cuda:N, got '{name}'") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device '{name}' asks for a GPU and torch sees none; use --device cpu")
    return device


def _tensorboard_logger(directory: Path) -> Callable[[dict[str, Any], int], None]:
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    writer = SummaryWriter(directory)

    def log(metrics: dict[str, Any], epoch: int) -> None:
        for name, value in metrics.items():
            writer.add_scalar(name, value, epoch)
        writer.flush()

    return log


def cli() -> NoReturn:
    """Entry point of the console script."""
    run(main)


if __name__ == "__main__":
    cli()
