"""Time a search of 1,000 trials that cost nothing on four simulated nodes: what the search itself costs.

Run with `make bench-scale`. The trials report nine epochs each, with a checkpoint, unless ASHA stops them;
searcher, scheduler, tables and journal are those of `python -m tune search`.
"""

import argparse
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster
from rich.console import Console

import tune.search_loop
from tests.benchmarks.cheap_trial import cheap_trial
from tune.arguments import make_parser, plan_from_arguments
from tune.callbacks.recorder import Recorder
from tune.callbacks.shutdown import Interruption
from tune.cluster.session import ray_session
from tune.search_loop import run_search
from tune.storage.tables import read_table
from tune.study.session import create_study

N_NODES = 4
EVERY = 100


class Watch:
    """What the driver has used whenever another hundred trials have ended."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.marks: list[tuple[int, float, float, float]] = [(0, time.perf_counter(), time.process_time(), 0)]
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.2):
            rows = list(self.recorder.trials.values())
            ended = sum(row["finished_at"] is not None for row in rows)
            if ended >= self.marks[-1][0] + EVERY:
                memory = psutil.Process().memory_info().rss / 2**20
                self.marks.append((ended, time.perf_counter(), time.process_time(), memory))


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
    watches: list[Watch] = []

    def watched(*given: Any, **options: Any) -> Recorder:
        watches.append(Watch(Recorder(*given, **options)))
        threading.Thread(target=watches[0].run, daemon=True).start()
        return watches[0].recorder

    tune.search_loop.Recorder = watched  # type: ignore[assignment, misc]
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
            run_search(study, Console(), Interruption())
            watches[0].done.set()
            marks = watches[0].marks
            print(f"{'trials':>7} {'s / trial':>10} {'driver CPU s / trial':>21} {'driver MiB':>11}")
            for (before, wall, cpu, _), (ended, now, used, memory) in pairwise(marks):
                n = ended - before
                print(f"{ended:7} {(now - wall) / n:10.3f} {(used - cpu) / n:21.3f} {memory:11.0f}")
            statuses = read_table(study.run.trials_file)["status"].value_counts().to_pylist()
            print(*(f"{count['values']}: {count['counts']}" for count in statuses), sep=", ")
            size = sum(f.stat().st_size for f in Path(study.run.path).rglob("*") if f.is_file())
            print(f"the run directory has {size / 2**20:.0f} MiB")
    cluster.shutdown()


if __name__ == "__main__":
    main()
