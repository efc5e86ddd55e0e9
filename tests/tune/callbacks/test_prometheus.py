"""What is exported, and that the Grafana dashboard asks for nothing else."""

import json
import re
from importlib import resources

import pytest
from ray.util.metrics import Counter, Gauge

from tests.tune.conftest import KNN, PARAMS, FakeTrial, budget_of, epoch_result
from tune.algorithms.outcome import Outcome
from tune.callbacks import prometheus
from tune.callbacks.prometheus import PrometheusCallback
from tune.storage.run_directory import RunDirectory
from tune.study.study_tables import StudyTables

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


TRIAL_IDS = ["0000-fc-4d", "0001-fc-4d"]


def search(tmp_path, clock=lambda: 0.0, n_trials=1):
    """Return the tables of a search whose trials run, and what exports them."""
    tables = StudyTables(RunDirectory(tmp_path / "runs" / "tiny"), [KNN], budget=budget_of(3))
    for number in range(n_trials):
        tables.open(TRIAL_IDS[number], number, PARAMS)
        tables.start(TRIAL_IDS[number])
    return tables, PrometheusCallback(tables, clock=clock)


def report(tables, exporter, epoch, value, trial_id=TRIAL_IDS[0]):
    result = epoch_result(epoch, value, images_per_second=100.0 * epoch, checkpoint_bytes=1000)
    tables.record_report(trial_id, result)
    exporter.on_trial_result(0, [], FakeTrial("ray-0", {"trial_id": trial_id}), result)


def test_each_epoch_of_a_trial_is_exported(tmp_path, values):
    tables, exporter = search(tmp_path)
    report(tables, exporter, 1, 0.9)
    report(tables, exporter, 2, 0.7)
    of_trial = ("tiny", "0000-fc-4d")
    assert values == {
        ("vae_images", "tiny"): 2,
        ("vae_checkpoint_bytes", *of_trial): 2000,
        ("vae_trial_epoch", *of_trial): 2,
        ("vae_trial_objective", *of_trial): 0.7,
        ("vae_trial_best_objective", *of_trial): 0.9,
        ("vae_trial_images_per_second", *of_trial): 200.0,
    }


def test_the_study_is_exported_every_few_seconds_with_the_trials_that_run(tmp_path, values):
    now = [0.0]
    tables, exporter = search(tmp_path, clock=lambda: now[0], n_trials=2)
    for trial_id, value in zip(TRIAL_IDS, (0.7, 0.9), strict=True):
        report(tables, exporter, 1, value, trial_id)
    tables.end(TRIAL_IDS[1], Outcome("stopped_early", "rung"))
    values.clear()
    exporter.on_step_end(0, [])
    assert values["vae_best_objective", "tiny", "val_knn_accuracy"] == 0.9
    counts = {status: values["vae_trials", "tiny", status] for status in prometheus.STATUSES}
    assert {status: count for status, count in counts.items() if count} == {"running": 1, "stopped_early": 1}
    assert ("vae_trial_epoch", "tiny", "0000-fc-4d") in values
    assert ("vae_trial_epoch", "tiny", "0001-fc-4d") not in values
    values.clear()
    now[0] = PrometheusCallback.every_s - 0.1
    exporter.on_step_end(0, [])
    assert not values


def test_the_end_of_the_search_is_exported_at_once(tmp_path, values):
    tables, exporter = search(tmp_path)
    exporter.on_step_end(0, [])
    report(tables, exporter, 3, 0.9)
    tables.end(TRIAL_IDS[0], Outcome("completed"))
    exporter.on_step_end(0, [])
    assert values["vae_trials", "tiny", "running"] == 1
    exporter.on_experiment_end([])
    assert values["vae_trials", "tiny", "running"] == 0
    assert values["vae_trials", "tiny", "completed"] == 1


def test_an_end_without_an_epoch_and_a_value_that_is_not_finite_are_left_out(tmp_path, values):
    tables, exporter = search(tmp_path)
    trial = FakeTrial("ray-0", {"trial_id": TRIAL_IDS[0]})
    exporter.on_trial_result(0, [trial], trial, {"images": 0, "stop_reason": "oom"})
    assert not values
    report(tables, exporter, 1, float("nan"))
    assert not any("objective" in name for name, *_ in values)


def exported() -> set[str]:
    """Return the names as Prometheus sees them."""
    exporter = PrometheusCallback(StudyTables(RunDirectory("tiny"), [KNN], budget=budget_of(1)))
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
