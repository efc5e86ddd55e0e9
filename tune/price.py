"""`python -m tune plan`: what a search would take, from some of its configurations, each trained briefly."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import fmean
from typing import Any

import numpy as np
import optuna
import ray
from rich.console import Console

from tune.algorithms.budget import Budget
from tune.algorithms.proposals import trial_name
from tune.algorithms.samplers import make_sampler, proposal_seed
from tune.algorithms.simulated_search import SimulatedSearch, TrialTime, simulate_search
from tune.cluster.resources import TrialResources
from tune.cluster.session import ray_session
from tune.driver import Evaluation
from tune.gpu_sharing import choose_gpu_share
from tune.space.display import duration_text
from tune.space.largest_model import largest_config
from tune.storage.filesystems import is_uri
from tune.study.plan import POSITIVE, Plan
from tune.study.session import StudySession, create_study
from tune.trials.trial_cost import TrialCost, measure_cost
from vae.config import Config
from vae.errors import ClusterError
from vae.training.gpu_usage import training_floats

MEASURED = 8
"""How many of the first configurations are measured, besides the largest of the space and the smallest."""
SIMULATIONS = 200
GAIN = 1.0
"""By how many standard deviations a sampler that learns has become better after a hundred trials, about."""
SPEED_SPREAD = 0.1
"""Standard deviation of the logarithm of a machine's speed, from one quarter of an hour to the next."""
BETWEEN_S = 0.3
"""Between two trials in one worker."""
REPORT_S = 0.15
"""From a report to the next image: the driver decides, and Tune copies the checkpoint."""
WORKER_STARTS = 2.0
"""What Tune's own workers take until their first trial, in starts of a task's, as they import Tune too."""
END_SHARE = 0.5
"""What the report and the end of Ray take, as a share of the start."""
TABLES_EVERY_S = 5.0
"""How often the tables of a study under a URI are sent, about."""

Params = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Quantity:
    """An estimate and what it lies between in nine of ten simulations."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Quantity":
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        return cls(float(middle), float(low), float(high))

    def plus(self, constant: float) -> "Quantity":
        return Quantity(self.middle + constant, self.low + constant, self.high + constant)

    def text(self, write: Any) -> str:
        return f"{write(self.middle)} ({write(self.low)} to {write(self.high)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was seen on the cluster: overheads, and the cost of some configurations by their place."""

    proposals: list[Params]
    """Those of the search, in its order, as far as they do not depend on how trials do."""
    costs: dict[int, TrialCost]
    largest: TrialCost | None
    """None if the memory does not suffice for it."""
    ready_s: float
    """From the start of the command until Ray can take trials."""
    worker_s: float
    """From a task to its first line in a new worker."""

    def cost_of(self, number: int, generator: np.random.Generator) -> TrialCost:
        """Return the cost of a trial, or of any that was measured with its architecture."""
        if number in self.costs:
            return self.costs[number]
        proposals = self.proposals
        wanted = proposals[number % len(proposals)].get("architecture")
        alike = [n for n in self.costs if proposals[n].get("architecture") == wanted] or list(self.costs)
        return self.costs[int(generator.choice(alike))]


def print_price(
    plan: Plan,
    console: Console,
    *,
    evaluation: Evaluation,
    price_per_hour: float | None,
    address: str | None,
    dashboard: bool,
    started: float,
) -> None:
    """Measure, simulate and print; nothing is written.

    Raises
    ------
    UsageError, StorageError
        As a search with this plan.
    ClusterError
        Ray does not start, or no configuration could be measured.
    """
    if price_per_hour is not None:
        POSITIVE.check("price_per_hour", price_per_hour)
    with create_study(plan, written=False) as session, ray_session(address, dashboard=dashboard):
        ready_s = time.perf_counter() - started
        choose_gpu_share(session, console)
        resources = session.resources(plan.trials)
        found = _measure(session, resources, ready_s)
        evaluation_s = evaluation.seconds(session) if plan.evaluate else 0.0
    searches = [_simulate(session, found, resources.slots, seed) for seed in range(_n_simulations(plan))]
    _print(session, console, resources, found, searches, evaluation_s, price_per_hour)


def propose(plan: Plan) -> list[Params]:
    """Return the params of a search's trials, as random search proposes them; the first are those of any."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, proposals = optuna.create_study(), []
    for point in plan.space.start:
        study.enqueue_trial(plan.space.to_optuna(point))
    for number in range(plan.trials):
        study.sampler = make_sampler("random", proposal_seed(plan.seed, number))
        proposals.append(plan.space.sample(study.ask()))
    return proposals


def _measure(session: StudySession, resources: TrialResources, ready_s: float) -> Measured:
    plan, images = session.plan, session.data.train_images
    shape: Any = images.shape[1:]
    n_classes = 0 if session.data.train_labels is None else int(session.data.train_labels.max()) + 1
    proposals = propose(plan)

    def floats(number: int) -> int:
        config = Config.from_params(proposals[number])
        return training_floats(config.model, config.training.batch_size, shape, n_classes)

    smallest = min(range(min(len(proposals), 4 * MEASURED)), key=floats)
    numbers = sorted({*range(min(len(proposals), MEASURED)), smallest})
    wanted = [largest_config(plan.space, shape, n_classes).to_params(), *(proposals[n] for n in numbers)]
    data, objective = ray.put(session.data), session.objectives[0]
    task: Any = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_calls=0)(_timed_cost)
    submitted = time.time()
    waiting = [task.remote(params, data, objective, resources.n_threads) for params in wanted]
    try:
        (first, largest), *others = ray.get(waiting)
    except ray.exceptions.RayError as error:
        raise ClusterError(f"a configuration could not be trained: {str(error).splitlines()[-1]}") from error
    begun = sorted([first, *(at for at, _ in others)])[: resources.slots]
    costs = {n: cost for n, (_, cost) in zip(numbers, others, strict=True) if cost is not None}
    if not costs:
        raise ClusterError("none of the configurations fits into the memory; lower batch_size or width")
    return Measured(
        proposals=proposals,
        costs=costs,
        largest=largest,
        ready_s=ready_s,
        worker_s=max(0.0, fmean(begun) - submitted),
    )


def _timed_cost(*arguments: Any) -> tuple[float, TrialCost | None]:
    """Return when a task has begun, and what `measure_cost` says."""
    begun = time.time()
    return begun, measure_cost(*arguments)


def _n_simulations(plan: Plan) -> int:
    return max(20, min(SIMULATIONS, 20_000 // plan.trials))


def _simulate(
    session: StudySession, found: Measured, slots: int, seed: int, *, limit_s: float | None = None
) -> SimulatedSearch:
    plan, generator = session.plan, np.random.default_rng(seed)
    speed = float(np.exp(SPEED_SPREAD * generator.normal()))

    def times() -> Iterator[TrialTime]:
        for number in count():
            cost = found.cost_of(number, generator)
            before = WORKER_STARTS * found.worker_s if number < slots else BETWEEN_S
            yield TrialTime(
                start_s=speed * (before + cost.start_s),
                image_s=speed * cost.image_s,
                report_s=speed * (cost.report_s + REPORT_S),
                quick_s=speed * (cost.quick_s + REPORT_S),
            )

    return simulate_search(
        times(),
        n_trials=plan.trials if limit_s is None else None,
        slots=slots,
        budget=session.budget,
        rule=plan.make_rule(session.budget),
        generator=generator,
        gain=0.0 if plan.sampler in ("random", "grid") else GAIN,
        limit_s=limit_s,
    )


def _print(
    session: StudySession,
    console: Console,
    resources: TrialResources,
    found: Measured,
    searches: Sequence[SimulatedSearch],
    evaluation_s: float,
    price_per_hour: float | None,
) -> None:
    plan, budget, costs = session.plan, session.budget, list(found.costs.values())
    seeds_s = 0.0
    if plan.finalist_seeds:
        runs = min(plan.finalists, plan.trials) * plan.finalist_seeds
        whole_s = fmean(_training_s(cost, budget) for cost in costs)
        seeds_s = -(-runs // resources.slots) * whole_s
    fixed_s = (1 + END_SHARE) * found.ready_s + seeds_s
    search = Quantity.of([each.seconds for each in searches]).plus(fixed_s)
    images = Quantity.of([sum(each.images) for each in searches])
    reports = Quantity.of([each.n_reports for each in searches])
    total = Quantity(search.middle + evaluation_s, search.low, search.high + evaluation_s)

    def line(title: str, text: str) -> None:
        console.print(f"{title:<13}{text}", highlight=False, soft_wrap=True)

    line(
        session.record.dataset.name,
        f"{plan.trials} trials of up to {budget}, {resources.slots} at once",
    )
    named = sorted(
        (_training_s(cost, budget), trial_name(n, found.proposals[n])) for n, cost in found.costs.items()
    )
    (low, fastest), (high, slowest) = named[0], named[-1]
    line("a full trial", f"{duration_text(low)} ({fastest}) to {duration_text(high)} ({slowest})")
    line("measured", f"{len(costs)} of the {plan.trials} configurations, and the largest of the space")
    line(
        "search",
        f"{search.text(duration_text)}, "
        f"{images.middle / plan.trials / budget.images:.0%} of the full budget a trial",
    )
    if plan.evaluate:
        line("evaluation", f"at most {duration_text(evaluation_s)}")
        line("in all", total.text(duration_text))
    if plan.time_budget_s:
        limit = plan.time_budget_s - evaluation_s - fixed_s
        fitting = [
            len(_simulate(session, found, resources.slots, seed, limit_s=limit).images) if limit > 0 else 0
            for seed in range(20)
        ]
        fit = Quantity.of(fitting).text("{:.0f}".format)
        line(
            "time budget",
            f"{fit} trials end within {duration_text(plan.time_budget_s)}, {plan.trials} are wanted",
        )
    memory = max(cost.memory_bytes for cost in [*costs, *([found.largest] if found.largest else [])])
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    line(
        "memory",
        f"{_bytes(memory)} a trial at most, {_bytes(memory * resources.slots)} in all"
        + ("" if found.largest else "; the largest configuration runs out of memory")
        + f"; this machine has {_bytes(have)}",
    )
    whole, best = fmean(c.checkpoint_bytes for c in costs), fmean(c.best_bytes for c in costs)
    kept, written = plan.trials * (whole + best), reports.middle * whole + plan.trials * best
    line("checkpoints", f"{_bytes(kept)} kept, {_bytes(written)} written")
    if is_uri(plan.storage):
        # Of a report each file, and what is older listed and deleted; of the tables look, list and write.
        n_requests = reports.middle * (costs[0].n_files + 3) + 6 * search.middle / TABLES_EVERY_S
        line("requests", f"about {n_requests:,.0f} to {plan.storage}")
    if price_per_hour is not None:
        cost = Quantity(*(price_per_hour * s / 3600 for s in (total.middle, total.low, total.high)))
        line("price", f"{cost.text('{:.2f}'.format)} at {price_per_hour:g} an hour")


def _training_s(cost: TrialCost, budget: Budget) -> float:
    """Return what one training with the full budget takes, its first start left out."""
    n_quick = sum(at < budget.quick_until for at in budget.reports)
    n_full = len(budget.reports) - n_quick
    looks_s = n_full * (cost.report_s + REPORT_S) + n_quick * (cost.quick_s + REPORT_S)
    return budget.images * cost.image_s + looks_s


def _bytes(n: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n / 1e3:.3g} kB"
