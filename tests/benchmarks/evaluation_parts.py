"""Core-seconds of each part of a default evaluation, here and in the worktree of another commit, in turn.

Run with `make bench-evaluation ARGS="folder-of-checkpoints --old worktree"`. Each tree evaluates in a process
of its own, on one core and without Ray, timed by the processor's clock; then every score of both is compared.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from rich.console import Console
from threadpoolctl import threadpool_limits

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}
CELL = [
    "method",
    "dim",
    "trial_id",
    "protocol",
    "fold",
    "samples_per_class",
    "n_neighbors",
    "weights",
    "metric",
]
PROTOCOLS = {"test": "KNN grid", "cv": "KNN grid", "structure": "structure, k-means, probe"}


def measure(checkpoints: Path, dataset_name: str, file: Path) -> None:
    """Write `file`: a row for each part, and one for each score of it."""
    started = time.process_time()
    # Here, since what they import counts.
    from evaluation.pipeline import serial
    from evaluation.pipeline.plan import Options
    from evaluation.pipeline.subject import checkpoints_subject
    from evaluation.scores.settings import KnnGrid
    from tune.storage.run_directory import RunDirectory
    from vae.data import load_dataset

    paths = sorted(path for path in checkpoints.iterdir() if path.is_dir())
    dataset = load_dataset(dataset_name)
    subject = checkpoints_subject(paths, dataset, RunDirectory(file.parent), Options())
    rows = [{"part": "start", "core_s": time.process_time() - started}]
    with threadpool_limits(1):
        started = time.process_time()
        for event in serial.compute(subject.images, subject.embedders, KnnGrid()):
            seconds, started = time.process_time() - started, time.process_time()
            key = {"method": event.key.method, "dim": event.key.dim, "trial_id": event.key.trial_id}
            which = getattr(event, "round", None)
            protocol = "embed" if which is None else which.protocol
            part = PROTOCOLS.get(protocol, f"embed {event.key.method}")
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            rows.append({**key, "part": part, "core_s": seconds, "peak_gib": peak})
            rows += [{**row, **key, "part": "score"} for row in getattr(event, "rows", [])]
            print(f"{event.key}, {which or 'embedding'}: {seconds:.1f} core-seconds", file=sys.stderr)
    pd.DataFrame(rows).to_pickle(file)


def compare(checkpoints: Path, dataset: str, old: Path, console: Console) -> None:
    """Measure both trees in turn, and print parts and differences."""
    tables = {}
    with tempfile.TemporaryDirectory() as directory:
        for name, tree in {"new": Path.cwd(), "old": old.absolute()}.items():
            file = Path(directory) / f"{name}.pkl"
            command = [sys.executable, "-P", __file__, str(checkpoints.absolute()), "--write", str(file)]
            environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(tree)}
            subprocess.run([*command, "--dataset", dataset], cwd=tree, env=environment, check=True)
            tables[name] = pd.read_pickle(file)
    seconds = {name: _seconds(table) for name, table in tables.items()}
    for part in seconds["old"].index:
        before, after = seconds["old"][part], seconds["new"].get(part, 0.0)
        console.print(f"{part:45s} {before:7.1f} {after:7.1f} core-seconds, {after / before:.2f}")
    for name, table in tables.items():
        console.print(f"{name}: {table['peak_gib'].max():.2f} GiB at most")
    columns = [CELL, ["value"]]
    scores = [table[table["part"] == "score"].set_index(columns[0])["value"] for table in tables.values()]
    difference = (scores[0] - scores[1]).abs().rename("difference").reset_index()
    kind = difference["metric"] + " of " + difference["method"]
    for name, values in difference["difference"].groupby(kind):
        console.print(f"{name}: {len(values)} scores differ by {values.max():.5f} at most")
    console.print(f"scores of one tree alone: {int(difference['difference'].isna().sum())}")


def _seconds(table: pd.DataFrame) -> pd.Series:
    """Return the core-seconds of each part, of the KNN grid by embedding too, and of all."""
    timed = table[table["part"] != "score"]
    of_grid = timed[timed["part"] == "KNN grid"]
    name = "KNN grid, " + of_grid["method"] + " " + of_grid["dim"].astype(int).astype(str) + "-d"
    by_embedding = of_grid.groupby(name)["core_s"].sum()
    return pd.concat(
        [by_embedding, timed.groupby("part")["core_s"].sum(), pd.Series({"all": timed["core_s"].sum()})]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("--dataset", default="fmnist")
    parser.add_argument("--write", type=Path, required=True)
    arguments = parser.parse_args()
    measure(arguments.checkpoints, arguments.dataset, arguments.write)
