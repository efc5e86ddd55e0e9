"""`python -m vae train`: one VAE, from flags or like another one, without Ray."""

import argparse
import time
from pathlib import Path
from typing import get_args

from vae.api import choose_device, diverged, kept_model, validation_knn
from vae.checkpoint import MODEL_FILE, find_checkpoint, load_model, read_config, read_header
from vae.commands.arguments import add_dataset_arguments
from vae.config import PARAMS, Config
from vae.data import Dataset, load_dataset
from vae.data.splits import split_validation
from vae.errors import UsageError, count_text, notes_kept_back
from vae.metrics.validation_knn import sample_rows
from vae.model_card import ModelCard, Score, escape, write_card
from vae.models import count_parameters
from vae.training.loop import Report, check_fit, train
from vae.training.state import STATE_FILE, load_state
from vae.training.tensorboard import TensorBoard

PANEL = ("val_loss", "val_ssim", "val_mse", "val_psnr", "val_kl", "active_units")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `train_command`."""
    add_dataset_arguments(parser)
    parser.add_argument(
        "--resize",
        type=int,
        metavar="N",
        help="scale each image's shorter side to N pixels, 8 to 64, and cut out the middle",
    )
    parser.add_argument(
        "--like",
        metavar="MODEL",
        help="take the hyperparameters of a checkpoint or of a search's best trial; those given win",
    )
    parser.add_argument(
        "--all-images",
        action="store_true",
        help="train on the validation images too, never on the test part; the last epoch is kept",
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--name", help="name of the run, kept in runs/<name> (default: vae-<time>)")
    place.add_argument("--output", type=Path, help="directory of the run, instead of --name")
    parser.add_argument("--resume", action="store_true", help="continue the run of that name or directory")
    parser.add_argument(
        "--print-every", type=int, default=1, metavar="N", help="print every Nth epoch (default: %(default)s)"
    )
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="write curves, histograms and hyperparameters to tensorboard/ in the run",
    )
    parser.add_argument(
        "--tensorboard-images",
        action="store_true",
        help="the same with reconstructions, samples and the latent space",
    )
    hyperparameters = parser.add_argument_group("hyperparameters")
    for name, field in PARAMS.items():
        flag, help = f"--{name.replace('_', '-')}", field.metadata["help"]
        if field.type is bool:
            hyperparameters.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=help
            )
            continue
        many = field.type in (tuple[int, ...], tuple[float, ...])
        default = {"milestones": "none", "schedule_epochs": "max_epochs"}.get(name, field.default)
        hyperparameters.add_argument(
            flag,
            type=get_args(field.type)[0] if many else field.type,
            nargs="*" if many else None,
            default=argparse.SUPPRESS,  # so that `--like` decides what was not given
            help=f"{help} (default: {default})",
        )


def train_command(arguments: argparse.Namespace) -> int:
    """Train one VAE; keep the last state and the model of the epoch with the lowest ``val_loss``.

    A search keeps the epoch with the best objective instead, by default the highest ``val_knn_accuracy``.
    With ``--all-images`` it is the last model.
    """
    like = None if arguments.like is None else find_checkpoint(arguments.like)
    config = _config(arguments, like)
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
    if resize is None and (arguments.resume or like):
        resize = read_config(output if arguments.resume else like or output).resize
    with notes_kept_back():
        dataset = load_dataset(arguments.dataset or "fmnist", arguments.data_dir, resize=resize, on_disk=True)
        if like and arguments.dataset is None:
            _check_default(like, dataset)
        seed = config.training.seed
        training, validation = dataset.train, None
        if not arguments.all_images:
            split = split_validation(dataset.train, seed=seed)
            training, validation = split.train, split.validation
        # before anything is written
        if (batch_size := config.training.batch_size) > len(training):
            raise UsageError(
                f"batch_size must be <= {len(training)}, the number of training images, got {batch_size}; "
                "give a smaller --batch-size"
            )
        check_fit(config, training.image_shape, len(training), training.n_classes)
        epochs_before, state = 0, None
        if arguments.resume:
            state = load_state(output, config, device)
            config, epochs_before = state.config, state.epoch
            if state.dataset != dataset.fingerprint:
                raise UsageError(
                    f"{output} was trained on another data set than '{arguments.dataset or 'fmnist'}'; "
                    "name it with --dataset"
                )
            if (read_header(output / MODEL_FILE).get("split_seed") is None) != arguments.all_images:
                before, way_out = ("with", "leave out") if arguments.all_images else ("without", "add")
                raise UsageError(f"{output} was trained {before} validation images; {way_out} --all-images")
    best = kept_model(
        output,
        validated=validation is not None,
        split_seed=None if validation is None else seed,
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
            dataset.train if validation is None else validation,
            images=arguments.tensorboard_images,
            epochs_before=epochs_before,
        )

    def on_report(report: Report) -> None:
        max_epochs = config.training.max_epochs
        if report.epoch <= epochs_before + 1:
            size, n = count_parameters(report.state.model), count_text(len(training), "image")
            print(f"{config.model.architecture}, {size:,} parameters, {n} on {device}")
            print(_header(_panel(report)))
        if report.epoch % arguments.print_every == 0 or report.epoch == max_epochs or report.stop_reason:
            print(_row(report, max_epochs), flush=True)
        if board:
            board.log(report)
        if report.stop_reason:
            return
        best.update(report)
        report.state.dataset, report.state.resize = dataset.fingerprint, resize
        report.state.save(output)

    result = train(
        config,
        training,
        validation,
        device=device,
        resume_from=state,
        knn=None if validation is None else validation_knn(training, validation, seed, device),
        on_report=on_report,
    )
    if result.stop_reason == "nan":
        raise diverged(config, epochs_before + len(result.history))
    if not result.history:
        epochs = config.training.max_epochs
        print(f"{output} has trained its {epochs} epochs already; raise --max-epochs to continue")
    n_queries = None if validation is None else len(sample_rows(validation, seed))
    _write_card(output, dataset, config, like, n_queries)
    print(f"Model, config and state are in {output}")
    return 0


def _config(arguments: argparse.Namespace, like: Path | None) -> Config:
    """Return the hyperparameters that were given, for the rest those of another model or the defaults."""
    given = {name: getattr(arguments, name) for name in PARAMS if hasattr(arguments, name)}
    if like is None:
        return Config.from_params(given)
    params = read_config(like).config.to_params()
    if "max_epochs" in given:  # the schedule ends with the budget, whatever budgets that model has had
        params["schedule_epochs"] = []
    if given.get("schedule", "milestones") != "milestones":
        params["milestones"] = []
    return Config.from_params(params | given)


def _check_default(like: Path, dataset: Dataset) -> None:
    """Refuse to train on the default in place of the data set that a model was trained on."""
    known = read_header(like / MODEL_FILE).get("dataset")
    if known not in (None, dataset.fingerprint):
        raise UsageError(
            f"{like} was trained on other images than those of {dataset.name}, the default; name its data "
            "set, or another one, with --dataset"
        )


def _write_card(
    output: Path, dataset: Dataset, config: Config, like: Path | None, n_queries: int | None
) -> None:
    """Write the card; ``n_queries`` is of how many validation images the KNN accuracy is the share."""
    model = load_model(output)
    n = config.training.max_epochs
    epochs = f"{n} epoch{'s' * (n != 1)}"
    if model.split_seed is None:
        chosen = (
            f"Trained by `python -m vae train --all-images` for {epochs} on all "
            f"{len(dataset.train):,} images but those of the test part. No image judged it: the weights are "
            "those of the last epoch."
        )
    else:
        chosen = (
            f"Trained by `python -m vae train` for {epochs}. The weights are those of epoch "
            f"{model.epoch}, which had the lowest loss on the validation images, a sixth of the training "
            f"images, chosen by seed {model.split_seed}."
        )
    origin = "" if like is None else f" Its hyperparameters began as those of {escape(str(like))}."
    write_card(
        output,
        ModelCard(
            name=output.resolve().name,
            config=model.config,
            image_shape=model.image_shape,
            resize=model.resize,
            n_parameters=count_parameters(model.model),
            dataset=dataset.name,
            fingerprint=model.dataset,
            chosen=[chosen + origin],
            scores=[
                Score(
                    metric=name.removeprefix("val_"),
                    images="validation",
                    value=model.metrics[name],
                    n_images=n_queries if name == "val_knn_accuracy" else None,
                )
                for name in (*PANEL, "val_knn_accuracy")
                if name in model.metrics
            ],
        ),
    )


def _panel(report: Report) -> list[str]:
    """Return the names of what was measured on validation images."""
    return [name for name in PANEL if name in report.metrics]


def _header(panel: list[str]) -> str:
    return f"{'epoch':>9} {'train loss':>11} {''.join(f'{name:>12} ' for name in panel)}{'images/s':>9}"


def _row(report: Report, max_epochs: float) -> str:
    values = "".join(f"{report.metrics[name]:>12.4f} " for name in _panel(report))
    loss, speed = report.metrics["train_loss"], report.metrics["images_per_second"]
    return f"{report.epoch:>4}/{max_epochs:<4} {loss:>11.3f} {values}{speed:>9,.0f}"
