"""`tune plan`: which configurations are measured, and what is said of them."""

import contextlib
from dataclasses import replace

import optuna
import pytest
import torch

from tests.tune.conftest import KNN, SMALL_SPACE, budget_of
from tune import price
from tune.__main__ import main
from tune.algorithms.searcher import OptunaSearcher
from tune.cluster.resources import TrialResources
from tune.price import Measured, propose
from tune.study.plan import Plan
from tune.study.session import StudySession
from tune.trials import trial_cost
from tune.trials.data import TrialData
from tune.trials.trial_cost import TrialCost, measure_cost
from vae.data import load_dataset
from vae.training.loop import train

COST = TrialCost(
    start_s=1.0,
    image_s=9.0 / 1198,
    report_s=0.85,
    quick_s=0.1,
    checkpoint_bytes=3_000_000,
    best_bytes=1_000_000,
    n_files=4,
    memory_bytes=500_000_000,
    n_parameters=1000,
)


def test_the_first_proposals_are_those_of_the_search():
    plan = Plan(space=SMALL_SPACE | {"start": [{"architecture": "conv"}]}, trials=4, seed=3)
    study = optuna.create_study(direction="maximize")
    for point in plan.space.start:
        study.enqueue_trial(plan.space.to_optuna(point))
    searcher = OptunaSearcher(study, plan, budget_of(4), [KNN])
    suggested = [searcher.suggest(str(n))["params"] for n in range(4)]
    assert [
        {name: own[name] for name in found} for own, found in zip(suggested, propose(plan), strict=True)
    ] == propose(plan)
    assert propose(plan)[0]["architecture"] == "conv"


@pytest.fixture
def printed(monkeypatch, tmp_path, capsys):
    """Run the command on digits with measured costs of ten seconds an epoch, without Ray."""

    def measure(session: StudySession, resources: TrialResources, ready_s: float) -> Measured:
        return Measured(
            proposals=propose(session.plan), costs={0: COST}, largest=COST, ready_s=5.0, worker_s=5.0
        )

    monkeypatch.setattr(price, "ray_session", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(price, "choose_gpu_share", lambda *_: None)
    monkeypatch.setattr(price, "_measure", measure)
    monkeypatch.setattr(price, "SPEED_SPREAD", 0.0)
    monkeypatch.setattr(StudySession, "resources", lambda self, n: TrialResources(1.0, 0.0, 2))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> dict[str, str]:
        assert main(["plan", "--dataset", "digits", "--no-evaluate", *arguments]) == 0
        assert list(tmp_path.iterdir()) == []  # nothing is written
        lines = capsys.readouterr().out.splitlines()
        return {line[:13].strip(): line[13:] for line in lines}

    return run


def test_without_a_stopping_rule_the_time_is_that_of_all_epochs(printed):
    lines = printed("--scheduler", "none", "--trials", "4", "--max-epochs", "3", "--price-per-hour", "36")
    # Two rounds of three epochs of 10 s each, 1 s before each trial, twice 5 s for workers, 7.5 s for Ray.
    seconds = 2 * (3 * 10 + 1) + 10 + price.BETWEEN_S + 7.5
    assert lines["search"].startswith(
        f"{seconds:.0f} s ({seconds:.0f} s to {seconds:.0f} s), 100% of the full budget"
    )
    assert lines["price"].startswith(f"{seconds / 100:.2f} (")
    assert lines["checkpoints"] == "16 MB kept, 40 MB written"
    assert lines["memory"].startswith("500 MB a trial at most, 1 GB in all")


def test_a_stopping_rule_saves_epochs_and_a_time_budget_counts_the_trials_that_end(printed):
    lines = printed("--trials", "9", "--max-epochs", "9", "--grace-period", "1", "--time-budget", "10m")
    assert float(lines["search"].split(", ")[-1].split("%")[0]) < 55
    n = int(lines["time budget"].split()[0])
    assert 30 < n < 118  # two workers have 118 epochs of 10 s
    assert lines["time budget"].endswith("trials end within 10 min, 9 are wanted")


def test_requests_are_counted_under_a_uri_alone(printed):
    assert "requests" not in printed()
    assert printed("--storage", "s3://bucket/prefix")["requests"].endswith("to s3://bucket/prefix")


def test_a_trial_that_was_not_measured_takes_what_one_of_its_architecture_does():
    proposals = [{"architecture": name} for name in ("fc", "conv", "conv", "unet")]
    costs = {0: COST, 1: replace(COST, image_s=99.0)}
    found = Measured(proposals=proposals, costs=costs, largest=COST, ready_s=0, worker_s=0)
    generator = price.np.random.default_rng(0)
    assert found.cost_of(2, generator).image_s == 99
    assert {found.cost_of(3, generator).image_s for _ in range(20)} == {COST.image_s, 99.0}


def test_what_an_image_and_a_report_take_is_measured_and_the_checkpoint_is_weighed(monkeypatch):
    monkeypatch.setattr(trial_cost, "trial_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(trial_cost, "reset_process", lambda seed, n_threads: None)
    monkeypatch.setattr(trial_cost, "TIMED_S", 0.0)
    data = TrialData.from_dataset(load_dataset("digits"), seed=0)
    seen = []

    def spied(config, images, validation, **options):
        result = train(config, images, validation, **options)
        result.history[0] |= {"images_per_second": 100.0, "validation_seconds": 2.0}
        seen.append((len(images), len(validation)))
        return result

    monkeypatch.setattr(trial_cost, "train", spied)
    params = {"architecture": "fc", "latent_dim": 4, "width": 0.25, "batch_size": 64}
    found = measure_cost(params, data, KNN, 1)
    assert seen[1] == (trial_cost.WARM_UP_STEPS * 64, len(data.validation_images))
    assert found.image_s == 0.01
    assert found.report_s == pytest.approx(2, abs=1)
    assert 0 < found.quick_s < 1
    assert found.checkpoint_bytes > 3 * found.best_bytes > 3 * 4 * found.n_parameters
