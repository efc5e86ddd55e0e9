"""Train a full factorial of configurations on Fashion-MNIST and store their learning curves.

`python -m tests.benchmarks.curves` writes fmnist_curves.parquet, beside this file, which `ablation` replays:
one row per configuration and epoch. Each of the 288 is trained for 9 epochs by `vae.training.loop.train`,
with seed 0 and one thread, on a subset: a stratified fifth (10,000) of the 50,000 training images. As in
`tune.trials.trainable`, each epoch is judged by the KNN accuracy of validation images, here 5,000, among
training images, 5,000 of that subset; the loss is that of 1,000 validation images. An interrupted run goes on
where it was.
"""

import argparse
import itertools
import json
import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from vae.config import Config
from vae.data import ImageSet, load_dataset
from vae.data.splits import split_validation
from vae.inference import embed
from vae.metrics.knn import knn_accuracy
from vae.training.loop import Report, train

CURVES = Path(__file__).with_name("fmnist_curves.parquet")
MAX_EPOCHS = 9
N_NEIGHBORS = 10

# The two highest rates spoil some models; one_cycle starts with a low rate, so it looks worse than it ends.
SPACE: dict[str, tuple[Any, ...]] = {
    "architecture": ("fc", "fc_conv"),
    "reconstruction_loss": ("bce", "mse", "ssim"),
    "latent_dim": (4, 10, 32),
    "learning_rate": (2e-4, 1e-3, 5e-3, 2e-2),
    "kl_weight": (0.1, 1.0),
    "schedule": ("constant", "one_cycle"),
}

_images: dict[str, ImageSet] = {}
"""One process's images: train, validation (the queries) and reference."""


def load_images() -> None:
    """Fill `_images`; every process does it once."""
    torch.set_num_threads(1)
    split = split_validation(load_dataset("fmnist").train, seed=0)
    _images["train"] = split_validation(split.train, seed=0, fraction=0.2).validation
    _images["reference"] = split_validation(_images["train"], seed=0, fraction=0.5).validation
    _images["validation"] = split_validation(split.validation, seed=0, fraction=0.5).validation


def train_curve(number: int, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Train one configuration and return a row per epoch; a diverged one ends with NaN."""
    rows: list[dict[str, Any]] = []
    reference, query = _images["reference"], _images["validation"]

    def on_report(end: Report) -> None:
        started = time.perf_counter()
        points = embed(end.state.model, reference.images), embed(end.state.model, query.images)
        accuracy = math.nan
        if end.stop_reason is None and all(p.isfinite().all() for p in points):
            accuracy = knn_accuracy(
                points[0], reference.labels, points[1], query.labels, n_neighbors=N_NEIGHBORS
            )
        rows.append(
            {
                "config": number,
                **params,
                "epoch": end.epoch,
                "val_knn_accuracy": accuracy,
                "val_loss": end.metrics["val_loss"],
                "epoch_seconds": end.metrics["epoch_seconds"] + time.perf_counter() - started,
            }
        )

    config = Config.from_params({**params, "max_epochs": MAX_EPOCHS, "batch_size": 128})
    train(config, _images["train"], query.subset(torch.arange(1000)), on_report=on_report)
    return rows


def main() -> None:
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--limit", type=int, help="train only so many configurations, write no table")
    parser.add_argument("--part", type=Path, default=Path("runs/fmnist_curves.jsonl"), help="finished curves")
    arguments = parser.parse_args()
    configs = [dict(zip(SPACE, values, strict=True)) for values in itertools.product(*SPACE.values())]
    arguments.part.parent.mkdir(parents=True, exist_ok=True)
    arguments.part.touch()
    curves = [json.loads(line) for line in arguments.part.read_text().splitlines()]
    done = {curve[0]["config"] for curve in curves}
    # In random order, so that the remaining time follows from the part that is done.
    order = [int(i) for i in np.random.default_rng(0).permutation(len(configs)) if i not in done]
    started = time.perf_counter()
    with ProcessPoolExecutor(
        arguments.processes, multiprocessing.get_context("spawn"), initializer=load_images
    ) as pool:
        futures = [pool.submit(train_curve, i, configs[i]) for i in order[: arguments.limit]]
        for n, future in enumerate(as_completed(futures), start=1):
            curves.append(future.result())
            with arguments.part.open("a") as file:
                file.write(json.dumps(curves[-1]) + "\n")
            last, seconds = curves[-1][-1], time.perf_counter() - started
            print(
                f"{len(curves)}/{len(configs)} {[last[name] for name in SPACE]}: "
                f"{last['val_knn_accuracy']:.4f} after {last['epoch']} epochs, "
                f"{seconds / n * (len(futures) - n):.0f} s to go",
                flush=True,
            )
    if len(curves) == len(configs):
        table = pd.DataFrame([row for curve in curves for row in curve]).sort_values(["config", "epoch"])
        table.to_parquet(CURVES, compression="zstd", index=False)
        print(f"wrote {CURVES.name}: {len(table)} rows")


if __name__ == "__main__":
    main()
