"""How many trials share a GPU."""

import math
from types import SimpleNamespace

import pytest
import ray
from rich.console import Console

from tests.tune.conftest import SMALL_SPACE
from tune import gpu_sharing
from tune.cluster.nodes import Nodes
from tune.cluster.resources import TrialResources, _fit
from tune.gpu_sharing import choose_gpu_share, share_of, trials_per_gpu
from tune.space.file import parse_space
from tune.storage.study_record import StudyRecord
from tune.trials.data import TrialData
from vae.data import load_dataset
from vae.training.gpu_usage import GpuUsage

GB = 10**9


@pytest.mark.parametrize(
    ("memory", "busy", "n"),
    [
        (1.3, 0.22, 4),
        (1.3, 0.9, 1),
        (1.3, 0.51, 1),
        (1.3, 0.5, 2),
        (1.3, 0.2, 5),
        (0.5, 0.01, 16),  # never more
        (5.0, 0.01, 2),  # 14.4 GB of 16 are given away
        (7.3, 0.01, 1),
        (15.9, 1.0, 1),
        (1.3, None, 4),  # as without a measurement
        (5.0, None, 2),
    ],
)
def test_memory_and_time_must_be_enough_for_all(memory, busy, n):
    assert trials_per_gpu(GpuUsage(int(memory * GB), 16 * GB, busy)) == n


@pytest.mark.parametrize("n", range(1, 17))
def test_so_many_trials_as_are_to_share_a_gpu_fit_onto_it(n):
    assert _fit({"CPU": 64, "GPU": 1}, 1, share_of(n)) == n
    in_rays_unit = round(share_of(n) * 10_000)  # Ray rounds to the nearest
    assert in_rays_unit * n <= 10_000


@pytest.fixture(scope="module")
def data():
    return TrialData.from_dataset(load_dataset("digits"), seed=0)


@pytest.fixture
def study(data):
    plan = SimpleNamespace(gpus_per_trial=None, trials=9, time_budget_s=None, space=parse_space(SMALL_SPACE))
    study = SimpleNamespace(plan=plan, data=data, record=StudyRecord(name="run"))
    study.resources = lambda n_runs: TrialResources(1.0, 0.25, 4)
    study.save = lambda profile: setattr(study.record, "profile", profile)
    return study


def say(study):
    console = Console(record=True, width=200)
    choose_gpu_share(study, console)
    return console.export_text()


@pytest.fixture
def on_gpus(monkeypatch):
    """Pretend that there are nodes with a GPU and some CPUs, on which so much was measured."""

    def pretend(usage, cpus=8):
        monkeypatch.setattr(gpu_sharing, "cluster_nodes", lambda: Nodes(({"CPU": cpus, "GPU": 1},)))
        monkeypatch.setattr(gpu_sharing, "_measure_on_a_gpu", lambda *arguments: usage)

    return pretend


def test_what_was_measured_is_said_and_recorded(study, on_gpus):
    on_gpus(GpuUsage(int(1.3 * GB), 16 * GB, 0.22))
    assert say(study) == (
        "largest model of the space: conv-8d, width 0.25, batch 256: 1.3 of 16 GB, GPU busy 22 %: "
        "4 trials share a GPU\n"
    )
    profile = study.record.profile
    assert (profile["trials_per_gpu"], profile["gpus_per_trial"]) == (4, 0.25)
    assert (profile["memory_bytes"], profile["busy"]) == (int(1.3 * GB), 0.22)
    assert profile["config"]["architecture"] == "conv"


def test_there_are_no_more_trials_than_cpus(study, on_gpus):
    on_gpus(GpuUsage(GB, 16 * GB, 0.01), cpus=3)
    assert "3 trials share a GPU" in say(study)


def test_a_model_that_does_not_fit_has_a_gpu_for_itself(study, on_gpus):
    on_gpus(gpu_sharing.OUT_OF_MEMORY)
    assert "does not fit onto a GPU, so some trials may fail: each trial has its own GPU" in say(study)
    assert study.record.profile["gpus_per_trial"] == 1.0


def test_what_cannot_be_measured_is_said_and_leaves_the_usual_share(study, on_gpus):
    on_gpus("because")
    assert "not measured (because); 4 trials share a GPU" in say(study)
    assert not study.record.profile


@pytest.mark.parametrize("known", ["recorded", "asked for", "no GPUs"])
def test_nothing_is_measured_without_need(study, on_gpus, monkeypatch, known):
    on_gpus(GpuUsage(GB, 16 * GB, 0.5))
    monkeypatch.setattr(gpu_sharing, "_measure_on_a_gpu", lambda *arguments: pytest.fail("measured"))
    if known == "recorded":
        study.record.profile = {"gpus_per_trial": 0.5}
    elif known == "asked for":
        study.plan.gpus_per_trial = 0.0
    else:
        monkeypatch.setattr(gpu_sharing, "cluster_nodes", lambda: Nodes(({"CPU": 8},)))
    assert say(study) == ""


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
class TestOnRay:
    def measure(self, data, wait_s=300.0):
        config = gpu_sharing.Config.from_params({"architecture": "fc", "width": 0.25})
        return gpu_sharing._measure_on_a_gpu(config, data, 1.0, 1, wait_s)

    @pytest.fixture
    def without_gpu(self, monkeypatch):
        """Ask for no GPU where there is none, and so come to the worker."""
        remote = ray.remote
        monkeypatch.setattr(
            gpu_sharing.ray, "remote", lambda **options: remote(**(options | {"num_gpus": 0}))
        )

    def test_a_gpu_that_torch_cannot_use_is_not_measured(self, data, without_gpu):
        assert self.measure(data) == gpu_sharing.NO_CUDA

    def test_a_gpu_that_is_not_free_in_time_is_not_waited_for(self, data):
        assert self.measure(data, wait_s=0.5) == "no answer from a GPU of its own within 0 s"

    def test_an_error_is_returned_in_one_line(self, data, without_gpu, monkeypatch):
        def fail(params, data, n_threads):
            raise RuntimeError("no such luck")

        monkeypatch.setattr(gpu_sharing, "_measure", fail)
        assert self.measure(data) == "RuntimeError: no such luck"


def test_the_wait_is_a_part_of_the_time_budget(study, on_gpus, monkeypatch):
    on_gpus(None)
    waits = []
    monkeypatch.setattr(
        gpu_sharing, "_measure_on_a_gpu", lambda *arguments: waits.append(arguments[-1]) or "because"
    )
    say(study)
    study.plan.time_budget_s = 60.0
    say(study)
    monkeypatch.setattr(
        gpu_sharing, "cluster_nodes", lambda: Nodes((), (SimpleNamespace(resources={"GPU": 1}),))
    )
    study.plan.time_budget_s = None
    assert "waiting for the first node with a GPU" in say(study)
    assert waits == [gpu_sharing.WAIT_S, 15.0, gpu_sharing.WAIT_FOR_NODE_S]
    assert math.isfinite(sum(waits))
