"""Train random configurations of the default search space; store their curves, finely and with their cost.

`python -m tests.benchmarks.search_curves` adds to search_curves/fmnist.parquet, beside this file: one row for
each configuration and mark, a number of images seen. Each sees 400,000 images with a constant learning rate
after 100 steps of warm-up (`--one-cycle`: with one cycle over them, into a table of its own), on one thread,
with its number as seed. At each mark KNN accuracy is measured as a search does, and on a quarter of the
images (``quick``). All times are CPU seconds. Curves that the table has are not trained again.
"""

import argparse
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import torch

from tune.algorithms.samplers import make_sampler, proposal_seed
from tune.space.file import DEFAULT_SPACE, load_space
from vae.config import Config
from vae.data import ImageSet, load_dataset
from vae.data.splits import split_validation
from vae.metrics.panel import evaluate_panel
from vae.metrics.validation_knn import ValidationKnn, sample_rows
from vae.models import VAE, build_model
from vae.training.loop import train
from vae.training.state import TrainingState

TABLES = Path(__file__).with_name("search_curves")
BUDGET = 400_000
MARKS = tuple(BUDGET * part // 64 for part in (1, 2, 3, 4, 6, 8, 12, *range(16, 65, 8)))
WARMUP_STEPS = 100
QUICK = 4
"""One image of so many is taken for a quick look."""


@dataclass(frozen=True, slots=True)
class Task:
    """What one process needs to train its configurations."""

    dataset: str
    one_cycle: bool


class Curve:
    """Looks at a model at each mark, as a hook of its optimiser: the training is the project's own."""

    def __init__(self, model: VAE, data: ImageSet, batch_size: int, looks: dict[str, ValidationKnn]) -> None:
        self.model, self.n, self.batch_size, self.looks = model, len(data), batch_size, looks
        self.steps = self.images = 0
        self.look_seconds = 0.0
        self.rows: list[dict[str, float]] = []
        self.started = time.process_time()

    def before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Warm the learning rate up, which the loop sets anew before each step."""
        for group in optimizer.param_groups:
            group["lr"] *= min(1.0, (self.steps + 1) / WARMUP_STEPS)

    def after_step(self, *_: Any) -> None:
        """Measure the model if a mark has been reached."""
        self.steps += 1
        epoch, step = divmod(self.steps, -(-self.n // self.batch_size))
        self.images = epoch * self.n + step * self.batch_size
        if len(self.rows) == len(MARKS) or self.images < MARKS[len(self.rows)]:
            return
        trained = time.process_time() - self.started - self.look_seconds
        row = {"mark": MARKS[len(self.rows)], "images": self.images, "train_seconds": trained}
        self.model.eval()
        for name, look in self.looks.items():
            before = time.process_time()
            row[name] = look(self.model)
            row[f"{name}_seconds"] = time.process_time() - before
        self.model.train()
        self.rows.append(row)
        self.look_seconds = time.process_time() - self.started - trained


_parts: dict[str, ImageSet] = {}
"""One process's images: train and validation."""


def load_images(dataset: str) -> None:
    """Fill `_parts`; every process does it once."""
    torch.set_num_threads(1)
    split = split_validation(load_dataset(dataset).train, seed=0)
    _parts.update(train=split.train, validation=split.validation)


def sample(number: int) -> dict[str, Any]:
    """Return configuration ``number`` of the default space, drawn at random."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=make_sampler("random", proposal_seed(0, number)))
    return load_space(DEFAULT_SPACE).sample(study.ask())


def train_curve(number: int, task: Task) -> list[dict[str, Any]]:
    """Train one configuration and return a row for each mark; after a non-finite loss there are no more."""
    training, validation = _parts["train"], _parts["validation"]
    params = sample(number) | {"schedule": "one_cycle" if task.one_cycle else "constant"}
    n_epochs = -(-BUDGET // len(training))
    config = Config.from_params({**params, "seed": number, "max_epochs": n_epochs})
    model = build_model(config.model, training.image_shape, seed=number)
    looks = {
        name: ValidationKnn(*(_sample(part, number, share) for part in (training, validation)))
        for name, share in (("val_knn_accuracy", 1), ("quick_knn_accuracy", QUICK))
    }
    curve = Curve(model, training, config.training.batch_size, looks)
    state = TrainingState(config, model)
    state.optimizer.register_step_pre_hook(curve.before_step)
    state.optimizer.register_step_post_hook(curve.after_step)
    reference = reference_seconds()
    curve.started = time.process_time()
    few = validation.subset(torch.arange(min(256, len(validation))))  # the loop's own panel is not used
    train(config, training, few, resume_from=state)
    before = time.process_time()
    model.eval()
    panel = evaluate_panel(model, validation.images, config.loss)
    panel_seconds = time.process_time() - before
    same = {"number": number, **params, "panel_seconds": panel_seconds, "reference_seconds": reference}
    return [
        {**same, **row, "val_loss": panel["val_loss"], "val_ssim": panel["val_ssim"]} for row in curve.rows
    ]


def _sample(part: ImageSet, seed: int, share: int) -> ImageSet:
    rows = torch.from_numpy(sample_rows(part, seed))
    return part.subset(rows[::share])


def reference_seconds() -> float:
    """Return the CPU seconds of fixed work, by which times of different machines can be divided."""
    config = Config.from_params({"architecture": "fc", "latent_dim": 10, "max_epochs": 1, "batch_size": 256})
    part = ImageSet(torch.zeros(2560, 1, 28, 28, dtype=torch.uint8), None)
    before = time.process_time()
    train(config, part, part.subset(torch.arange(16)))
    return time.process_time() - before


def main() -> None:
    """Train what is missing and write the table after each curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=250, help="configurations in all (%(default)s)")
    parser.add_argument("--dataset", default="fmnist")
    parser.add_argument("--name", default="fmnist", help="of the table (%(default)s)")
    parser.add_argument("--one-cycle", action="store_true")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    path = TABLES / f"{arguments.name}{'_one_cycle' if arguments.one_cycle else ''}.parquet"
    part = Path("runs") / f"{path.stem}.jsonl"
    rows: list[Any] = pd.read_parquet(path).to_dict("records") if path.exists() else []
    if part.exists():
        rows += [json.loads(line) for line in part.read_text().splitlines()]
    task = Task(arguments.dataset, arguments.one_cycle)
    numbers = sorted(set(range(arguments.n)) - {int(row["number"]) for row in rows})
    TABLES.mkdir(exist_ok=True)
    part.parent.mkdir(exist_ok=True)
    with ProcessPoolExecutor(
        arguments.processes,
        multiprocessing.get_context("spawn"),
        initializer=load_images,
        initargs=(arguments.dataset,),
    ) as pool:
        futures = [pool.submit(train_curve, number, task) for number in numbers]
        for done, future in enumerate(as_completed(futures), start=1):
            curve = future.result()
            rows += curve
            with part.open("a") as file:
                file.write("".join(json.dumps(row) + "\n" for row in curve))
            table = pd.DataFrame(rows).drop_duplicates(["number", "mark"]).sort_values(["number", "mark"])
            table.to_parquet(path, compression="zstd", index=False)
            last = curve[-1] if curve else {}
            print(
                f"{done}/{len(futures)}",
                *(last.get(n) for n in ("number", "architecture", "val_knn_accuracy", "train_seconds")),
                flush=True,
            )


if __name__ == "__main__":
    main()
