"""Searches as their tables record them, without any training: what the pictures of a search are tested on."""

import json
import math
from pathlib import Path

import numpy as np

from tune.algorithms.stopping_rules import make_rule
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import EPOCHS, TRIALS, write_table

MAX_EPOCHS = 9
SPACE = {
    "architecture": {"choice": ["fc", "conv", "unet"]},
    "width": [
        {"value": 0.5, "when": {"architecture": ["conv", "unet"]}},
        {"choice": [1.0, 2.0]},
    ],
    "latent_dim": {"int": [2, 64], "log": True},
    "reconstruction_loss": {"choice": ["bce", "ssim"]},
    "ssim_window": {"choice": [7, 11], "when": {"reconstruction_loss": "ssim"}},
    "kl_weight": {"float": [0.01, 1.0], "log": True},
    "learning_rate": {"float": [3e-4, 5e-3], "log": True},
    "schedule": "one_cycle",
    "start": [{"architecture": "fc"}],
}


def write_search(
    path: Path, n_trials: int = 40, *, scheduler: str = "asha", mode: str = "max", ends: bool = True
) -> RunDirectory:
    """Write the tables of a search in which the KL weight decides, the closer to 0.1 the better.

    Trials come one after the other, and the real rule stops them. With ``ends`` trials 1 to 5 end otherwise:
    oom before any epoch, nan after epoch 2, collapsed at the rung of epoch 3, time_budget, still running.
    """
    run = RunDirectory(path)
    path.mkdir(parents=True)
    generator = np.random.default_rng(0)
    rule = make_rule(scheduler, budget=MAX_EPOCHS, grace_period=1, reduction_factor=3)
    metric, sign = ("val_knn_accuracy", 1) if mode == "max" else ("val_mse", -1)
    trials, epochs = [], []
    for number in range(n_trials):
        architecture = str(generator.choice(["fc", "conv", "unet"]))
        loss = str(generator.choice(["bce", "ssim"]))
        params = {
            "architecture": architecture,
            "width": float(generator.choice([1.0, 2.0])) if architecture == "fc" else 0.5,
            "latent_dim": round(math.exp(generator.uniform(math.log(2), math.log(64)))),
            "reconstruction_loss": loss,
            "ssim_window": int(generator.choice([7, 11])) if loss == "ssim" else None,
            "kl_weight": math.exp(generator.uniform(math.log(0.01), 0)),
            "learning_rate": math.exp(generator.uniform(math.log(3e-4), math.log(5e-3))),
            "schedule": "one_cycle",
        }
        best = 0.9 - 0.15 * abs(math.log10(params["kl_weight"] / 0.1)) + 0.005 * generator.normal()
        name = f"{number:04d}-{architecture}-{params['latent_dim']}d"
        end = {
            1: ("failed", "oom", 0),
            2: ("failed", "nan", 2),
            3: ("failed", "collapsed", 3),
            4: ("stopped_early", "time_budget", 2),
            5: ("running", None, 1),
        }.get(number) if ends else None  # fmt: skip
        status, reason, last = end or ("completed", None, MAX_EPOCHS)
        rung = cutoff = None
        curve: dict[int, float] = {}
        for epoch in range(1, last + 1):
            value = best * (1 - 0.2 / epoch)
            curve[epoch] = value if sign > 0 else 1 - value
            diverged = epoch == last and reason == "nan"
            decision = (
                None if diverged or rule is None else rule.judge(name, number, epoch, sign * curve[epoch])
            )
            if decision is not None and decision.stopped and epoch < MAX_EPOCHS and end is None:
                status, reason, rung, cutoff = "stopped_early", "rung", epoch, sign * decision.cutoff
                break
        trials.append(
            {
                "study": path.name,
                "trial_id": name,
                "number": number,
                "status": status,
                "stop_reason": reason,
                "objective": (sign * max(sign * value for value in curve.values())) if curve else None,
                "best_epoch": max(curve, default=None),
                "epochs": max(curve, default=0),
                "rung": rung,
                "cutoff": cutoff,
                **{f"config_{key}": value for key, value in params.items()},
            }
        )
        epochs += [
            {
                "study": path.name,
                "trial_id": name,
                "epoch": epoch,
                metric: None if reason == "nan" and epoch == max(curve) else value,
            }
            for epoch, value in curve.items()
        ]
    write_table(trials, TRIALS, run.trials_file)
    write_table(epochs, EPOCHS, run.epochs_file)
    study = {
        "name": path.name,
        "status": "completed",
        "arguments": {"scheduler": scheduler, "grace_period": 1, "reduction_factor": 3.0},
        "objective": [metric],
        "mode": mode,
        "max_epochs": MAX_EPOCHS,
        "space": SPACE,
    }
    run.study_file.write_text(json.dumps(study))
    return run
