"""`python -m tests.tune.deaths FILE OPTIONS…`: a command of `tune` whose trials die on schedule.

FILE is JSON: ``log`` is where each process writes what it has trained, an epoch takes ``pause_s`` at least,
and ``deaths`` maps a trial's number to what befalls it after training an epoch and before reporting it:
epoch -> [signal, how often]. On a ``broken`` node every trial is killed before its first epoch.
No trial begins before the file ``waits_for`` is there. The trial with the number ``ghost`` is sent to another
node, of which it then turns out that there is none.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import ray

import evaluation.report.page
import tune.callbacks.failures
import tune.cluster.shared_storage
import tune.search_loop
from tune.__main__ import main
from vae.command_line import run

usual = tune.search_loop.train_trial


def mortal(given: dict[str, Any]) -> Any:
    """Return `train_trial` with those deaths; it is pickled whole, as workers do not know this file."""
    log = Path(given["log"])

    def note(*words: object) -> None:
        with log.open("a") as file:
            print(*words, os.getpid(), file=file, flush=True)

    def dies(number: int, epoch: int) -> int | None:
        name, times = given.get("deaths", {}).get(str(number), {}).get(str(epoch), (None, 0))
        marks = [log.with_name(f"{number}-{epoch}-{time}") for time in range(times)]
        for mark in marks:
            if not mark.exists():
                mark.touch()
                return getattr(signal, name)
        return None

    def train_trial(config, *, data, objective, n_threads, collapse, budget, remote=None):
        number = config["number"]
        node_id = ray.get_runtime_context().get_node_id()
        note("start", number, node_id)
        while given.get("waits_for") and not Path(given["waits_for"]).exists():
            time.sleep(0.1)
        if node_id == given.get("broken"):
            os.kill(os.getpid(), signal.SIGKILL)

        def maybe_die(end):
            time.sleep(given.get("pause_s", 0))
            note("epoch", number, end.epoch)
            if (blow := dies(number, end.epoch)) is not None:
                os.kill(os.getpid(), blow)
                time.sleep(given.get("pause_s", 0))

        usual(
            config,
            data=data,
            objective=objective,
            n_threads=n_threads,
            collapse=collapse,
            budget=budget,
            remote=remote,
            on_report=maybe_die,
        )

    return train_trial


def ghost_node(number: int) -> Any:
    """Return `tune.callbacks.failures._others` with a node that is there when first asked for."""
    answers, usually = iter([True]), tune.callbacks.failures._others

    def others(trial, avoided):
        return next(answers, False) if trial.config["number"] == number else usually(trial, avoided)

    return others


if __name__ == "__main__":
    tune.cluster.shared_storage.ANSWER_WITHIN_S = 300.0  # of nodes that share a busy machine
    evaluation.report.page.write_figures = lambda *_, **__: None  # nobody looks at them
    given = json.loads(Path(sys.argv.pop(1)).read_text())
    tune.search_loop.train_trial = mortal(given)
    if "ghost" in given:
        tune.callbacks.failures._others = ghost_node(given["ghost"])
    run(main)
