"""Kill searches at random moments, resume them until they are done, and check that nothing was lost.

Run 20 rounds with `python -m tests.soak --rounds 20`, or `make soak`, and over S3 with `make soak ARGS=--s3`;
the test suite runs two, one on S3.
"""

import argparse
import contextlib
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
import torch
import yaml

from tests.processes import optuna_state, runs_trials, start_tune
from tune.algorithms import journal
from tune.algorithms.budget import Budget
from tune.storage.filesystems import join
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import CONFIG_PREFIX, read_table
from tune.study.plan import Plan
from tune.trials.data import TrialData
from vae.checkpoint import load_model
from vae.config import PARAMS, Config
from vae.data import load_dataset
from vae.training.loop import Report, train

SPACE = {
    "architecture": {"choice": ["fc", "conv1xn"]},
    "latent_dim": {"choice": [4, 8]},
    "width": 0.25,
    "reconstruction_loss": {"choice": ["bce", "mse"]},
    "learning_rate": {"float": [1e-3, 1e-2], "log": True},
    "kl_weight": {"float": [0.01, 0.1], "log": True},
    "batch_size": 32,
}
N_TRIALS = 10
MAX_EPOCHS = 12
GRACE_PERIOD = 2
LINES_PER_TRIAL = 15
"""About as many lines has the journal of such a search for each of its trials in the end."""


@dataclass(frozen=True)
class Kill:
    """Who was killed, and when; ``trials`` and ``epochs`` had been reported by then."""

    victim: str
    after_s: float
    trials: int
    epochs: int


def soak_round(
    directory: Path, seed: int, n_kills: int = 2, n_trials: int = N_TRIALS, storage: str | None = None
) -> list[Kill]:
    """Carry one search through some kills to its end and check it; returns what was done to it.

    With a URI as ``storage``, each process finds nothing of what the one before had on this machine.

    Raises
    ------
    AssertionError
        Something was lost, doubled or not done.
    """
    rng = random.Random(seed)
    (directory / "space.yaml").write_text(yaml.safe_dump(SPACE, sort_keys=False))
    address = str(directory / "runs" / "soak") if storage is None else str(join(storage, "soak"))

    def look() -> RunDirectory:
        return RunDirectory.resolve(address)

    options = {
        "--dataset": "digits",
        "--space": "space.yaml",
        "--name": "soak",
        "--trials": n_trials,
        "--max-epochs": MAX_EPOCHS,
        "--grace-period": GRACE_PERIOD,
        "--seed": seed,
        "--storage": storage or "runs",
    }
    command = ["search", *(str(word) for pair in options.items() for word in pair), "--no-evaluate"]
    kills, finished = [], {}
    for number in range(n_kills):
        own = directory / f"machine-{number}"
        own.mkdir()
        # Ray's sockets have no room for a long path.
        process = start_tune(*command, cwd=directory, TMPDIR=str(own), RAY_TMPDIR="/tmp")
        begun = time.monotonic()
        # From the first moments, in which nothing is written yet, to the middle of the trials.
        while process.poll() is None and not look().journal_file.exists():
            time.sleep(0.05)
        assert process.poll() is None, "\n".join(process.communicate())
        n_lines = _lines(look()) + rng.randint(0, LINES_PER_TRIAL * n_trials // n_kills)
        while process.poll() is None and _lines(look()) < n_lines:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        if process.poll() is not None:
            break
        victim = rng.choice(["driver", "driver", "machine", "worker"])
        _kill(process, victim, rng)
        if victim == "worker":  # Tune restarts the trial by itself; the search continues
            moment = time.monotonic() + rng.uniform(1, 6)
            while process.poll() is None and time.monotonic() < moment:
                time.sleep(0.01)
            _kill(process, "driver", rng)
        process.wait()
        _forget(own)
        after_s = time.monotonic() - begun
        optuna_trials = journal.open_study(look().journal_file, "soak").trials
        for number, completed_at in finished.items():
            assert optuna_trials[number].datetime_complete == completed_at, f"trial {number} was run again"
        finished = {t.number: t.datetime_complete for t in optuna_trials if t.state.is_finished()}
        kills.append(
            Kill(victim, after_s, len(optuna_trials), sum(len(t.intermediate_values) for t in optuna_trials))
        )
        command = ["resume", address]
    process = start_tune("resume", address, cwd=directory)
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, f"{out}\n{err}"
    assert "Traceback" not in err, err
    run = look()
    run.fetch(run.checkpoints_dir)
    optuna_trials = journal.open_study(run.journal_file, "soak").trials
    for number, completed_at in finished.items():
        assert optuna_trials[number].datetime_complete == completed_at, f"trial {number} was run again"
    check(run, n_trials)
    return kills


def check(run: RunDirectory, n_trials: int = N_TRIALS) -> None:
    """Check the tables, the journal and the checkpoints of a finished study against each other."""
    assert run.read_study().status == "completed"
    trials = sorted(read_table(run.trials_file).to_pylist(), key=lambda row: row["number"])
    epochs = read_table(run.epochs_file).to_pylist()
    assert len(trials) == n_trials
    assert [row["number"] for row in trials] == list(range(n_trials))
    budget = budget_of(run)
    curves: dict[str, dict[int, dict]] = {row["trial_id"]: {} for row in trials}
    for row in epochs:
        assert row["images"] not in curves[row["trial_id"]], "a report has two rows"
        curves[row["trial_id"]][row["images"]] = row
    optuna_trials = journal.open_study(run.journal_file, "soak").trials
    assert len(optuna_trials) == n_trials
    for row, trial in zip(trials, optuna_trials, strict=True):
        curve = curves[row["trial_id"]]
        assert row["status"] in ("completed", "stopped_early"), row
        assert row["checkpoint"], row
        assert sorted(curve) == [at for at in budget.reports if at <= row["images"]], (row["trial_id"], curve)
        assert trial.user_attrs["trial_id"] == row["trial_id"]
        assert trial.state.name == optuna_state(row), (row, trial)
        values = {images: r["val_knn_accuracy"] for images, r in curve.items()}
        assert trial.intermediate_values == values, (row["trial_id"], trial.intermediate_values, values)
        if row["status"] == "completed":
            assert row["epochs"] == MAX_EPOCHS
            assert trial.values == [row["objective"]]
        if row["status"] == "stopped_early":
            assert row["stop_reason"] == "rung"
            assert row["images"] in budget.rungs
            assert row["rung"] == row["epochs"]
            assert row["cutoff"] > values[row["images"]]
        assert load_model(run.path / row["checkpoint"]).epoch == row["best_epoch"]
        assert row["objective"] == max(values.values())
    # Convolutions with several input channels keep their moments in another order than files do.
    check_curve(run, max(trials, key=lambda row: (row["config_architecture"] != "fc", row["epochs"])))


def budget_of(run: RunDirectory) -> Budget:
    """Return the budget of a study's trials."""
    study = run.read_study()
    return Plan.from_record(study).choose_budget(study.dataset.n_train)


def check_curve(run: RunDirectory, row: dict) -> None:
    """Train one trial again without a break: its losses must be those of the table, bit for bit."""
    torch.set_num_threads(1)  # as the trials had
    data = TrialData.from_dataset(load_dataset("digits"), seed=run.read_study().seed)
    params = {name: row[CONFIG_PREFIX + name] for name in PARAMS}
    config = Config.from_params({name: value for name, value in params.items() if value is not None})
    epochs = [each for each in read_table(run.epochs_file).to_pylist() if each["trial_id"] == row["trial_id"]]
    budget = budget_of(run)
    losses: list[float] = []

    def keep(end: Report) -> None:
        losses.append(end.metrics["val_loss"])

    train(config, data.train("cpu"), data.validation("cpu"), on_report=keep, report_at=budget.reports)
    assert losses[: len(epochs)] == [each["val_loss"] for each in epochs]


def _forget(machine: Path) -> None:
    """Delete the files of a dead driver, but for the lock that shows that it is dead."""
    for path in machine.rglob("*"):
        if path.is_file() and path.name != ".lock":
            path.unlink(missing_ok=True)


def _lines(run: RunDirectory) -> int:
    return run.journal_file.read_bytes().count(b"\n")


def _kill(process: subprocess.Popen[str], victim: str, rng: random.Random) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        if victim == "driver":
            process.kill()
        elif victim == "machine":
            for child in [psutil.Process(process.pid), *children]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.send_signal(signal.SIGKILL)
        else:
            workers = [child for child in children if runs_trials(child)]
            if workers:
                rng.choice(workers).kill()


def soak(seeds: Iterable[int], storage: str | None) -> None:
    """Run a round for each seed and print what was done to it."""
    for seed in seeds:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as directory:
            place = storage and str(join(storage, Path(directory).name))
            kills = soak_round(Path(directory), seed, storage=place)
        done = "; ".join(f"{k.victim} at {k.after_s:.1f} s, {k.epochs} epochs in" for k in kills)
        print(
            f"{datetime.now():%X} round {seed}: right, {time.monotonic() - begun:.0f} s ({done})", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--storage", help="URI under which each round has a folder")
    where.add_argument(
        "--s3", action="store_true", help="under a URI of an S3 server that this starts (moto's)"
    )
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + arguments.rounds)
    with contextlib.ExitStack() as at_end:
        if arguments.s3:
            from tests.s3_server import s3_server  # moto takes a second to import

            server = at_end.enter_context(s3_server())
            soak(seeds, server.uri("soak"))
            print(f"{sum(server.requests.values())} requests: {dict(server.requests)}")
        else:
            soak(seeds, arguments.storage)


if __name__ == "__main__":
    main()
