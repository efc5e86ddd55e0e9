"""Which score that needs no labels ranks the trials of a search as KNN accuracy does?

`python -m tests.benchmarks.label_free RUNS…` takes studies of labelled images. For each it prints, by
candidate, the Spearman rank correlation with `val_knn_accuracy` over the trials, with a 95 % bootstrap
interval over trials, and what the choice costs: the best accuracy minus that of the trial which the candidate
would choose, in points. Both are of one epoch of all trials, the grace period, which each reaches, and then
of each trial's last.
"""

import argparse
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table
from scipy.stats import ConstantInputWarning, spearmanr

from evaluation.formatting import points
from evaluation.report.summary import empty_table
from tune import load
from tune.algorithms.objective import MODES, SIZES, Objective
from vae.command_line import plain_console, run

TARGET = "val_knn_accuracy"
CANDIDATES = tuple(name for name in MODES if name not in (TARGET, "val_loss", *SIZES))
"""The others that a search can have as objective; `val_loss` does not compare trials."""
N_BOOTSTRAP = 2000


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table for each study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directory of a study with labels")
    for location in parser.parse_args(argv).runs:
        study = load(location)
        record = study.record
        grace = min(int(record.arguments.get("grace_period") or 1), record.max_epochs)
        plain_console().print(comparison_table(study.epochs, record.dataset.name, grace))
    return 0


def comparison_table(epochs: pd.DataFrame, name: str, grace: int) -> Table:
    """Return the candidates of one study, those that agree best at the last epochs first."""
    early, last = at_epoch(epochs, grace), at_last_epoch(epochs)
    table = empty_table(
        "candidate",
        *(f"epoch {grace}", "cost", "last", "cost"),
        title=f"{name}: {len(early)} trials at epoch {grace}, {len(last)} at their last",
    )
    order = sorted(CANDIDATES, key=lambda candidate: -correlation(last, candidate))
    for candidate in order:
        cells = []
        for rows in (early, last):
            low, high = interval(rows, candidate)
            cells += [
                f"{correlation(rows, candidate):+.2f} [{low:+.2f}, {high:+.2f}]",
                points(cost(rows, candidate)),
            ]
        table.add_row(candidate, *cells)
    return table


def at_epoch(epochs: pd.DataFrame, epoch: int) -> pd.DataFrame:
    """Return a row for each trial that reached an epoch with all values."""
    return epochs[epochs["epoch"] == epoch].dropna(subset=[TARGET, *CANDIDATES])


def at_last_epoch(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return the last row of each trial that has all values."""
    whole = epochs.dropna(subset=[TARGET, *CANDIDATES])
    return whole.sort_values("epoch").groupby("trial_id").tail(1)


def correlation(rows: pd.DataFrame, candidate: str) -> float:
    """Return the rank correlation with `TARGET`, 1 where a candidate orders all trials alike."""
    return _spearman(_signed(rows, candidate), rows[TARGET].to_numpy())


def interval(rows: pd.DataFrame, candidate: str, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile interval of `correlation` over resampled trials."""
    values, target = _signed(rows, candidate), rows[TARGET].to_numpy()
    drawn = np.random.default_rng(seed).integers(len(rows), size=(N_BOOTSTRAP, len(rows)))
    low, high = np.nanquantile([_spearman(values[i], target[i]) for i in drawn], [0.025, 0.975])
    return float(low), float(high)


def cost(rows: pd.DataFrame, candidate: str) -> float:
    """Return the accuracy of the best trial minus that of the one with the candidate's best value."""
    return float(rows[TARGET].max() - rows[TARGET].to_numpy()[_signed(rows, candidate).argmax()])


def _signed(rows: pd.DataFrame, candidate: str) -> NDArray[np.float64]:
    return Objective(candidate, MODES[candidate]).sign * rows[candidate].to_numpy(dtype=float)


def _spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    with warnings.catch_warnings():  # a sample of one trial again and again has no correlation
        warnings.simplefilter("ignore", ConstantInputWarning)
        return float(spearmanr(first, second).statistic)


if __name__ == "__main__":
    run(main)
