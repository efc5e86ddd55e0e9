"""Time what opens a study of 1,000 trials: status, report and figures, and the start of resume and of extend.

`python -m tests.benchmarks.load` writes it through searcher, scheduler and tables, with curves drawn at
random, and reads it in a process of its own each time. With Chromium it opens the report.
"""

import argparse
import asyncio
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from evaluation.report.page import write_report
from tests.browser import CHROMIUM, open_page
from tests.tune.conftest import KNN, epoch_result
from tune.__main__ import main as tune_main
from tune.algorithms.outcome import Outcome
from tune.restore import Search, open_search
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import DatasetRecord, StudyRecord, StudyStatus
from tune.study.plan import Plan

N_TRAIN = 50_000
FRAMES = """
window.worst = 0; let last = performance.now();
(function frame() {
  const now = performance.now(); worst = Math.max(worst, now - last); last = now;
  requestAnimationFrame(frame);
})()
"""
PLACE = """
(() => {
  const lines = document.getElementById("search-data").parentElement.querySelector("svg");
  lines.scrollIntoView(); worst = 0;
  const r = lines.getBoundingClientRect();
  return [r.x, r.y, r.width, r.height];
})()
"""


def open_run(run: RunDirectory, plan: Plan) -> Search:
    """Do what `tune resume` does before it starts Ray's loop."""
    record = SimpleNamespace(name=run.path.name, n_warm=0, extended_at=None)
    budget = plan.choose_budget(N_TRAIN)
    return open_search(
        SimpleNamespace(plan=plan, run=run, objectives=(KNN,), budget=budget, record=record)  # type: ignore
    )


def write_run(run: RunDirectory, plan: Plan) -> None:
    """Leave what a finished search of so many trials leaves, but for checkpoints."""
    run.path.mkdir(parents=True)
    budget, draw = plan.choose_budget(N_TRAIN), random.Random(0)
    StudyRecord(
        name=run.path.name,
        status=StudyStatus.COMPLETED,
        created_at=datetime.now(UTC).isoformat(),
        arguments=plan.arguments(budget),
        dataset=DatasetRecord(name="fmnist", path="fmnist", n_train=N_TRAIN),
        space=plan.space.source,
    ).write(run.study_file)
    search = open_run(run, plan)
    for number in range(plan.trials):
        ray_id, tables = str(number), search.tables
        config = search.searcher.suggest(ray_id)
        assert isinstance(config, dict)
        trial_id, quality = config["trial_id"], draw.gauss(0.8, 0.05)
        tables.open(trial_id, number, config["params"], config["proposal"])
        tables.start(trial_id)
        for at in budget.reports:
            value = quality - 0.3 * math.exp(-4 * at / budget.images) + draw.gauss(0, 0.005)
            quick = at < budget.quick_until
            result = epoch_result(at / N_TRAIN, value, images=at, quick=quick, stop_reason=None)
            tables.record_report(trial_id, result)
            ends = at == budget.images or search.scheduler.judge(trial_id, number, at, value)
            if ends:
                search.searcher.on_trial_complete(ray_id, result)
                outcome = Outcome.from_result(result, budget.images)
                tables.end(trial_id, outcome, search.scheduler.cutoff_of(trial_id))
                break
            search.searcher.on_trial_result(ray_id, result)
    search.searcher.close()
    search.tables.finish("interrupted")


def read_run(run: RunDirectory, what: str, plan: Plan) -> None:
    """Print what one way of reading it takes, without Python's start and imports."""
    started = time.perf_counter()
    if what == "status":
        tune_main(["status", str(run.path)])
    elif what == "report":
        write_report(run)
    else:
        factor = 2 if what == "extend" else 1
        more = replace(plan, trials=plan.trials + 10, budget=factor * (plan.budget or 0), sampler="tpe")
        open_run(run, more).searcher.suggest("next")
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{what}: {seconds:.1f} s, peak {peak:.0f} MiB", file=sys.stderr)


async def browse(report: Path) -> None:
    """Print how a browser takes the report."""
    async with open_page(report) as page:
        loaded = await page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        await page.evaluate(FRAMES)
        x, y, width, height = await page.evaluate(PLACE)
        for step in range(60):
            await page.mouse("mouseMoved", x + width * (step % 20) / 20, y + height * (step % 7) / 7)
        await asyncio.sleep(0.3)
        lines = await page.evaluate("worst")
        size = report.stat().st_size / 1e6
        print(
            f"report: {size:.1f} MB, loaded after {loaded:.0f} ms, worst frame over its lines {lines:.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    plan = Plan(sampler="random", trials=arguments.trials, budget=400_000)
    if arguments.read:
        read_run(RunDirectory(Path(arguments.read[1])), arguments.read[0], plan)
        return
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder) / "load")
        write_run(run, plan)
        again = [sys.executable, "-m", "tests.benchmarks.load", "--trials", str(arguments.trials), "--read"]
        for what in ("status", "report", "resume", "extend"):
            subprocess.run([*again, what, str(run.path)], stdout=subprocess.DEVNULL, check=True)
        if CHROMIUM:
            asyncio.run(browse(run.report_file))


if __name__ == "__main__":
    main()
