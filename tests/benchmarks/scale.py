"""Time a search of 1,000 trials that cost nothing on four simulated nodes: what the search itself costs.

Run with `make bench-scale`. The trials report nine epochs each, with a checkpoint, unless ASHA stops them;
searcher, scheduler, tables and journal are those of `python -m tune search`.
"""

import argparse
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster
from ray.tune import Callback
from rich.console import Console

import tune.search_loop
from tests.benchmarks.cheap_trial import cheap_trial
from tune.arguments import make_parser, plan_from_arguments
from tune.callbacks.shutdown import Interruption
from tune.cluster.session import ray_session
from tune.search_loop import run_search
from tune.storage.tables import read_table
from tune.study.session import create_study

N_NODES = 4
EVERY = 100


class Watch(Callback):
    """Notes what the driver has used whenever another hundred trials have ended."""

    def __init__(self) -> None:
        self.n_ended = 0
        self.marks: list[tuple[int, float, float, float]] = [(0, time.perf_counter(), time.process_time(), 0)]

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.n_ended += 1
        if self.n_ended % EVERY == 0:
            memory = psutil.Process().memory_info().rss / 2**20
            self.marks.append((self.n_ended, time.perf_counter(), time.process_time(), memory))


def main() -> None:
    """Print what each hundred trials have cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=64)
    arguments = parser.parse_args()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(N_NODES):
        cluster.add_node(num_cpus=arguments.slots // N_NODES)
    # The trials get no data: a cheap one has no use for it.
    tune.search_loop.with_parameters = lambda trainable, **given: cheap_trial
    with tempfile.TemporaryDirectory() as storage:
        words = [
            "search",
            "--dataset",
            "digits",
            "--storage",
            storage,
            "--name",
            "scale",
            "--max-epochs",
            "9",
        ]
        words += ["--grace-period", "2", "--trials", str(arguments.trials), "--cpus-per-trial", "1"]
        plan = plan_from_arguments(make_parser().parse_args(words))
        with ray_session(cluster.address), create_study(plan) as study:
            watch = Watch()
            run_search(study, Console(), Interruption(), callbacks=[watch])
            print(f"{'trials':>7} {'s / trial':>10} {'driver CPU s / trial':>21} {'driver MiB':>11}")
            for (before, wall, cpu, _), (ended, now, used, memory) in pairwise(watch.marks):
                n = ended - before
                print(f"{ended:7} {(now - wall) / n:10.3f} {(used - cpu) / n:21.3f} {memory:11.0f}")
            statuses = read_table(study.run.trials_file)["status"].value_counts().to_pylist()
            print(*(f"{count['values']}: {count['counts']}" for count in statuses), sep=", ")
            size = sum(f.stat().st_size for f in Path(study.run.path).rglob("*") if f.is_file())
            print(f"the run directory has {size / 2**20:.0f} MiB")
    cluster.shutdown()


if __name__ == "__main__":
    main()
