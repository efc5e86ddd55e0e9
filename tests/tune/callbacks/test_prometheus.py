"""What is exported, and that the Grafana dashboard asks for nothing else."""

import json
import re
from importlib import resources

import pytest
from ray.util.metrics import Counter, Gauge

from tests.tune.conftest import KNN, FakeTrial
from tune.callbacks import prometheus
from tune.callbacks.prometheus import PrometheusCallback
from tune.callbacks.recorder import Recorder
from tune.storage.run_directory import RunDirectory

DASHBOARD = json.loads((resources.files("tune") / "grafana_dashboard.json").read_text(encoding="utf-8"))


@pytest.fixture
def values(monkeypatch):
    """What was exported, by metric and tags, instead of to Ray."""
    values = {}

    def record(self, value, tags=None):
        self._validate_tags(tags)
        key = (self.info["name"], *tags.values())
        values[key] = value + values.get(key, 0) * isinstance(self, Counter)

    monkeypatch.setattr(Gauge, "_record", record)
    monkeypatch.setattr(Counter, "_record", record)
    return values


def search(tmp_path, clock=lambda: 0.0):
    recorder = Recorder(RunDirectory(tmp_path / "runs" / "tiny"), [KNN], max_epochs=3)
    return recorder, PrometheusCallback(recorder, clock=clock)


def report(recorder, exporter, trial, epoch, value):
    result = {
        "epoch": epoch,
        "train_loss": 1.0,
        "val_knn_accuracy": value,
        "epoch_seconds": 1.0,
        "images_per_second": 100.0 * epoch,
        "checkpoint_bytes": 1000,
    }
    for callback in (recorder, exporter):
        callback.on_trial_result(0, [trial], trial, result)


def make_trial(number):
    params = {"architecture": "fc", "latent_dim": 4, "seed": 0}
    return FakeTrial(f"ray-{number}", {"trial_id": f"000{number}-fc-4d", "number": number, "params": params})


def test_each_epoch_of_a_trial_is_exported(tmp_path, values):
    recorder, exporter = search(tmp_path)
    trial = make_trial(0)
    recorder.on_trial_start(0, [trial], trial)
    report(recorder, exporter, trial, 1, 0.9)
    report(recorder, exporter, trial, 2, 0.7)
    of_trial = ("tiny", "0000-fc-4d")
    assert values == {
        ("vae_epochs", "tiny"): 2,
        ("vae_checkpoint_bytes", *of_trial): 2000,
        ("vae_trial_epoch", *of_trial): 2,
        ("vae_trial_objective", *of_trial): 0.7,
        ("vae_trial_best_objective", *of_trial): 0.9,
        ("vae_trial_images_per_second", *of_trial): 200.0,
    }


def test_the_study_is_exported_every_few_seconds_with_the_trials_that_run(tmp_path, values):
    now = [0.0]
    recorder, exporter = search(tmp_path, clock=lambda: now[0])
    trials = [make_trial(0), make_trial(1)]
    for trial, value in zip(trials, (0.7, 0.9), strict=True):
        recorder.on_trial_start(0, trials, trial)
        report(recorder, exporter, trial, 1, value)
    trials[1].last_result = {"epoch": 1}
    recorder.on_trial_complete(0, trials, trials[1])
    values.clear()
    exporter.on_step_end(0, trials)
    assert values["vae_best_objective", "tiny", "val_knn_accuracy"] == 0.9
    counts = {status: values["vae_trials", "tiny", status] for status in prometheus.STATUSES}
    assert {status: count for status, count in counts.items() if count} == {"running": 1, "stopped_early": 1}
    assert ("vae_trial_epoch", "tiny", "0000-fc-4d") in values
    assert ("vae_trial_epoch", "tiny", "0001-fc-4d") not in values
    values.clear()
    now[0] = prometheus.SET_EVERY_S - 0.1
    exporter.on_step_end(0, trials)
    assert not values


def test_the_end_of_the_search_is_exported_at_once(tmp_path, values):
    recorder, exporter = search(tmp_path)
    trial = make_trial(0)
    recorder.on_trial_start(0, [trial], trial)
    exporter.on_step_end(0, [trial])
    report(recorder, exporter, trial, 3, 0.9)
    trial.last_result = {"epoch": 3}
    recorder.on_trial_complete(0, [trial], trial)
    exporter.on_step_end(0, [trial])
    assert values["vae_trials", "tiny", "running"] == 1
    exporter.on_experiment_end([trial])
    assert values["vae_trials", "tiny", "running"] == 0
    assert values["vae_trials", "tiny", "completed"] == 1


def test_an_end_without_an_epoch_and_a_value_that_is_not_finite_are_left_out(tmp_path, values):
    recorder, exporter = search(tmp_path)
    trial = make_trial(0)
    recorder.on_trial_start(0, [trial], trial)
    exporter.on_trial_result(0, [trial], trial, {"epoch": 0, "stop_reason": "oom"})
    assert not values
    report(recorder, exporter, trial, 1, float("nan"))
    assert not any("objective" in name for name, *_ in values)


def exported() -> set[str]:
    """Return the names as Prometheus sees them."""
    exporter = PrometheusCallback(Recorder(RunDirectory("tiny"), [KNN], max_epochs=1))
    found = set()
    for metric in vars(exporter).values():
        if isinstance(metric, Gauge | Counter):
            found.add(f"ray_{metric.info['name']}{'_total' if isinstance(metric, Counter) else ''}")
    return found


def test_the_grafana_dashboard_shows_what_is_exported_and_asks_for_nothing_else():
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    asked = {name for text in expressions for name in re.findall(r"ray_vae_\w+", text)}
    assert asked == exported()
    others = {name for text in expressions for name in re.findall(r"\bray_(?!vae_)\w+", text)}
    assert others == {"ray_component_cpu_percentage", "ray_component_rss_bytes"}


def test_its_panels_do_not_overlap_and_take_the_data_source_that_is_chosen():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
