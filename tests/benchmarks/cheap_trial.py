"""A trial that costs nothing, so that what is left is the search's own time; it imports no torch."""

import json
import math
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune import Checkpoint, report
from safetensors.numpy import save_file

METRICS = ("train_loss", "val_loss", "val_ssim", "val_mse", "val_psnr", "val_kl", "active_units")


def cheap_trial(config: dict[str, Any]) -> None:
    """Report a learning curve that depends on the params, with a small checkpoint each epoch."""
    params = config["params"]
    draw = random.Random(params["seed"])
    ceiling = 0.9 - 0.05 * abs(math.log10(params["learning_rate"]) + 3) + draw.gauss(0, 0.01)
    history = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "best").mkdir()
        for epoch in range(1, params["max_epochs"] + 1):
            result = dict.fromkeys(METRICS, 0.5) | {
                "epoch": epoch,
                "stop_reason": None,
                "val_knn_accuracy": ceiling - 0.3 / epoch,
                "epoch_seconds": 0.0,
                "n_parameters": 1000,
            }
            history.append(result | {"is_best": True})
            (directory / "history.json").write_text(json.dumps(history))
            header = {"json": json.dumps({"epoch": epoch})}
            save_file({"weight": np.zeros(1000)}, directory / "best" / "model.safetensors", metadata=header)
            report(result, checkpoint=Checkpoint.from_directory(directory))
