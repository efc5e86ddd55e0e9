"""What the honest bridge gains over Ray's OptunaSearch and ASHA: searches replayed on stored learning curves.

`python -m tests.benchmarks.ablation` prints the regret at equal simulated time, paired by seed. Searchers and
schedulers are the real ones, called as Tune's controller calls them; only the training is replayed, from the
table that `curves` made.
"""

import argparse
import heapq
import logging
import math
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from tests.benchmarks.curves import CURVES
from tune.algorithms.budget import Budget
from tune.algorithms.objective import Objective
from tune.algorithms.samplers import make_sampler
from tune.algorithms.scheduler import EarlyStopping
from tune.algorithms.searcher import OptunaSearcher
from tune.algorithms.stopping_rules import Asha
from tune.space.file import parse_space
from tune.storage.trial_status import STOP_REASON, TIME_ATTR

KNN = Objective("val_knn_accuracy", "max")
NOT_PARAMS = ("config", "epoch", "val_knn_accuracy", "val_loss", "epoch_seconds")
WORKERS = 4
REDUCTION_FACTOR = 3.0
FRACTIONS = (0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Curve:
    """What a configuration reports at each epoch, and its seconds; one that diverged ends with NaN."""

    values: tuple[float, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Stored learning curves of every combination of ``choices``, by their values in that order."""

    choices: dict[str, tuple[Any, ...]]
    curves: dict[tuple[Any, ...], Curve]
    max_epochs: int

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> "Table":
        """Read the rows that `curves` wrote."""
        names = [name for name in frame.columns if name not in NOT_PARAMS]
        curves: dict[tuple[Any, ...], Curve] = {}
        for _, rows in frame.sort_values("epoch").groupby("config"):
            columns = rows.to_dict("list")  # plain Python values
            curves[tuple(columns[name][0] for name in names)] = Curve(
                tuple(columns[KNN.name]), tuple(columns["epoch_seconds"])
            )
        choices = {name: tuple(dict.fromkeys(key[i] for key in curves)) for i, name in enumerate(names)}
        return cls(choices, curves, int(frame["epoch"].max()))

    def curve(self, params: dict[str, Any]) -> Curve:
        return self.curves[tuple(params[name] for name in self.choices)]

    def full_value(self, curve: Curve) -> float:
        """Return the value at the end of the full budget; minus infinity for one that diverged."""
        full = len(curve.values) == self.max_epochs and math.isfinite(curve.values[-1])
        return curve.values[-1] if full else -math.inf

    @property
    def best(self) -> float:
        """The best value at the end of the full budget."""
        return max(map(self.full_value, self.curves.values()))

    @property
    def best_epoch(self) -> float:
        """The best value of any epoch."""
        return max(v for curve in self.curves.values() for v in curve.values if math.isfinite(v))

    @property
    def full_seconds(self) -> float:
        """Mean seconds of a full training."""
        return statistics.mean(sum(curve.seconds) for curve in self.curves.values())


# These are all that this file knows of how a searcher or a scheduler is made, and ours is ended.


def our_searcher(table: Table, seed: int, sampler: str = "tpe") -> OptunaSearcher:
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())
    space = parse_space({name: {"choice": list(values)} for name, values in table.choices.items()})
    no_end = {"patience": None, "target": None}
    plan = SimpleNamespace(space=space, sampler=sampler, seed=seed, **no_end)
    # On a single image an epoch is an image.
    budget = Budget(images=table.max_epochs, n_train=1, grace_period=1, reduction_factor=REDUCTION_FACTOR)
    return OptunaSearcher(study, plan, budget, [KNN])


def our_scheduler(table: Table, grace_period: int) -> EarlyStopping:
    rule = Asha(budget=table.max_epochs, grace_period=grace_period, reduction_factor=REDUCTION_FACTOR)
    return EarlyStopping(rule, KNN, budget=table.max_epochs)


def stock_searcher(table: Table, seed: int) -> OptunaSearch:
    def space(trial: optuna.Trial) -> None:
        for name, values in table.choices.items():
            trial.suggest_categorical(name, values)

    return OptunaSearch(space, metric=KNN.name, mode=KNN.mode, sampler=make_sampler("tpe", seed))


def stock_scheduler(table: Table, grace_period: int) -> ASHAScheduler:
    return ASHAScheduler(
        time_attr=TIME_ATTR,
        metric=KNN.name,
        mode=KNN.mode,
        max_t=table.max_epochs,
        grace_period=grace_period,
        reduction_factor=REDUCTION_FACTOR,
    )


def close_searcher(searcher: Any) -> None:
    if isinstance(searcher, OptunaSearcher):  # Ray's has nothing of the kind
        searcher.close()


@dataclass(slots=True)
class SimulatedTrial:
    """How a trial went: its curve in the table, and the second at which each of its epochs was reported."""

    ray_trial: Any
    """What schedulers use of `ray.tune.experiment.Trial`."""
    curve: Curve
    reported: list[float] = field(default_factory=list)

    def values(self, now: float) -> tuple[float, ...]:
        """Return what it had reported by then."""
        return self.curve.values[: sum(second <= now for second in self.reported)]


def simulate(
    table: Table,
    searcher: Any,
    scheduler: Any,
    *,
    seconds: float,
    finish: bool = False,
    workers: int = WORKERS,
) -> list[SimulatedTrial]:
    """Run a search for so many simulated seconds and return its trials in the order of their start.

    Then the running trials are cut short, or, with ``finish``, go on without new ones beside them.

    A worker that becomes free gets the next proposal at once. The calls and their order are those of
    `ray.tune.execution.tune_controller` with as many concurrent trials as workers: the searcher hears of an
    epoch unless the scheduler stops the trial there, and of the end with the last result.
    """
    trials: list[SimulatedTrial] = []
    epoch_ends: list[tuple[float, int]] = []  # (second, number of the trial), the next one first

    def start(now: float) -> None:
        number = len(trials)
        config = searcher.suggest(str(number))
        if not isinstance(config, dict):  # ours tries none twice, and the table has no more
            return
        named = {"trial_id": str(number), "number": number, **config}
        ray_trial = SimpleNamespace(trial_id=str(number), config=named)
        trials.append(SimulatedTrial(ray_trial, table.curve(config.get("params", config))))
        scheduler.on_trial_add(None, ray_trial)
        heapq.heappush(epoch_ends, (now + trials[-1].curve.seconds[0], number))

    for _ in range(workers):
        start(0.0)
    while epoch_ends and (finish or epoch_ends[0][0] <= seconds):
        now, number = heapq.heappop(epoch_ends)
        trial, ray_trial = trials[number], trials[number].ray_trial
        trial.reported.append(now)
        epoch = len(trial.reported)
        value = trial.curve.values[epoch - 1]
        result = {
            TIME_ATTR: epoch,
            TRAINING_ITERATION: epoch,
            KNN.name: value,
            STOP_REASON: None if math.isfinite(value) else "nan",
        }
        decision = scheduler.on_trial_result(None, ray_trial, result)
        if decision != TrialScheduler.STOP:
            searcher.on_trial_result(ray_trial.trial_id, result)
        if decision == TrialScheduler.STOP or epoch == len(trial.curve.values):
            scheduler.on_trial_complete(None, ray_trial, result)
            searcher.on_trial_complete(ray_trial.trial_id, result)
            if now <= seconds:
                start(now)
        else:
            heapq.heappush(epoch_ends, (now + trial.curve.seconds[epoch], number))
    close_searcher(searcher)
    return trials


@dataclass(frozen=True, slots=True)
class Winner:
    """The configuration that a method names, the value of its model, and whether that is fully trained."""

    curve: Curve
    value: float
    full: bool


def best_last_value(table: Table, trials: list[SimulatedTrial], now: float) -> Winner:
    """Name what Ray's `ResultGrid.get_best_result` does: the best last value of any trial."""
    last = [(values[-1], t) for t in trials if (values := t.values(now)) and math.isfinite(values[-1])]
    value, trial = max(last, key=lambda item: item[0])
    return Winner(trial.curve, value, len(trial.values(now)) == table.max_epochs)


def best_full_budget(table: Table, trials: list[SimulatedTrial], now: float) -> Winner:
    """Name what our search does: of the fully trained trials the one with the best epoch.

    Where there is none our search names none; here it falls back on the best last value.
    """
    full = [t for t in trials if len(t.values(now)) == table.max_epochs and table.full_value(t.curve) > 0]
    if not full:
        return best_last_value(table, trials, now)
    curve = max((t.curve for t in full), key=lambda c: max(c.values))
    return Winner(curve, max(curve.values), full=True)


STOCK, STOCK_FULL = "stock: OptunaSearch + ASHAScheduler", "stock, winner fully trained"

# (searcher, scheduler) -> method: how it names its winner
METHODS: dict[tuple[Callable[..., Any], Callable[..., Any]], dict[str, Callable[..., Winner]]] = {
    (stock_searcher, stock_scheduler): {STOCK: best_last_value, STOCK_FULL: best_full_budget},
    (our_searcher, stock_scheduler): {"our telling, stock ASHA": best_full_budget},
    (stock_searcher, our_scheduler): {"stock telling, our ASHA": best_full_budget},
    (our_searcher, our_scheduler): {"ours": best_full_budget},
    (partial(our_searcher, sampler="random"), our_scheduler): {"random, our ASHA": best_full_budget},
}


def replay(
    table: Table, seed: int, grace_period: int, full_trainings: float, finish: bool
) -> list[dict[str, Any]]:
    """Run every method with one seed and return a row per method and part of the budget."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # a warning for each NaN that Optuna refuses
    budget = full_trainings * table.full_seconds / WORKERS
    rows = []
    for (make_searcher, make_scheduler), rules in METHODS.items():
        trials: list[SimulatedTrial] = []
        for fraction in FRACTIONS:
            if finish or not trials:  # without `finish` a part of the budget is the start of the whole
                trials = simulate(
                    table,
                    make_searcher(table, seed),
                    make_scheduler(table, grace_period),
                    seconds=budget * (fraction if finish else 1),
                    finish=finish,
                )
            now = math.inf if finish else fraction * budget
            epochs = [len(t.values(now)) for t in trials]
            for method, name_winner in rules.items():
                winner = name_winner(table, trials, now)
                rows.append(
                    {
                        "method": method,
                        "seed": seed,
                        "fraction": fraction,
                        "regret": table.best - table.full_value(winner.curve),
                        "shortfall": table.best_epoch - winner.value,
                        "unfinished": not winner.full,
                        "trials": sum(n > 0 for n in epochs),
                        "full": epochs.count(table.max_epochs),
                        "epochs": sum(epochs),
                    }
                )
    return rows


def interval(values: np.ndarray, n_resamples: int = 10_000) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the mean."""
    index = np.random.default_rng(0).integers(len(values), size=(n_resamples, len(values)))
    low, high = np.percentile(values[index].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def print_table(rows: pd.DataFrame) -> None:
    """Print a Markdown table per part of the budget, in points of accuracy.

    Regret: the best configuration's value at the full budget minus that of the one named. Shortfall: the best
    value of any epoch minus that of the model handed over: stock's last epoch, our best one.
    """
    for fraction in FRACTIONS:
        part = rows[rows["fraction"] == fraction]
        regret = 100 * part.pivot(index="seed", columns="method", values="regret")
        print(f"\n{fraction:.0%} of the budget\n")
        shortfall = 100 * part.pivot(index="seed", columns="method", values="shortfall")
        print(
            "| method | regret | minus stock | minus stock, winner fully trained | shortfall | minus stock "
            "| winner not fully trained | trials (full) | epochs |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for method, of_method in part.groupby("method", sort=False):
            means = of_method.mean(numeric_only=True)
            print(
                f"| {method} | {_mean(regret[method])} | {_mean(regret[method] - regret[STOCK], '+')} "
                f"| {_mean(regret[method] - regret[STOCK_FULL], '+')} "
                f"| {_mean(shortfall[method])} | {_mean(shortfall[method] - shortfall[STOCK], '+')} "
                f"| {of_method['unfinished'].mean():.0%} | {means['trials']:.0f} ({means['full']:.0f}) "
                f"| {means['epochs']:.0f} |"
            )


def _mean(values: pd.Series, sign: str = "") -> str:
    low, high = interval(values.to_numpy())
    return f"{values.mean():{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--full-trainings", type=float, default=30, help="the budget, in full trainings")
    parser.add_argument("--grace-period", type=int, default=2, help="epochs before a trial can be stopped")
    parser.add_argument("--finish", action="store_true", help="let the trials that run at the end finish")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    table = Table.from_frame(pd.read_parquet(CURVES))
    values = sorted(map(table.full_value, table.curves.values()), reverse=True)
    print(
        f"{len(values)} configurations, {table.max_epochs} epochs, {arguments.seeds} seeds, {WORKERS} workers"
    )
    print(f"full-budget value: best {values[0]:.4f}, median {statistics.median(values):.4f}")
    first = [(c.values[arguments.grace_period - 1], table.full_value(c)) for c in table.curves.values()]
    ranks = pd.DataFrame(first).corr(method="spearman").iloc[0, 1]
    print(f"rank correlation of epoch {arguments.grace_period} with the full budget: {ranks:.2f}")
    at_end = "finish" if arguments.finish else "are cut short"
    print(f"budget: the time of {arguments.full_trainings:g} full trainings; then running trials {at_end}")
    job = partial(
        replay,
        table,
        grace_period=arguments.grace_period,
        full_trainings=arguments.full_trainings,
        finish=arguments.finish,
    )
    started = time.perf_counter()
    with ProcessPoolExecutor(arguments.processes) as pool:
        rows = [row for part in pool.map(job, range(arguments.seeds)) for row in part]
    print_table(pd.DataFrame(rows))
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
