"""What the panels of the Grafana dashboard show, by Prometheus' own engine."""

import json
import shutil
import subprocess
from importlib import resources

import pytest
import yaml

PROMTOOL = shutil.which("promtool")
DASHBOARD = json.loads((resources.files("tune") / "grafana_dashboard.json").read_text(encoding="utf-8"))
VARIABLES = {"$study": "one", "$__range": "30m"}
"""As Grafana fills them in; the study `two` is not chosen."""

# Two minutes, a value every ten seconds: the first trial ends after one, the second goes on.
ENDED, RUNS = 'study="one", trial="0000-fc-4d"', 'study="one", trial="0001-conv-8d"'
EXPORTED = {
    'ray_vae_best_objective{study="one", objective="val_ssim"}': "0.5x6 0.6x6",
    'ray_vae_best_objective{study="two", objective="val_ssim"}': "0.9x12",
    'ray_vae_trials{study="one", status="running"}': "2x6 1x6",
    'ray_vae_trials{study="two", status="running"}': "5x12",
    'ray_vae_images_total{study="one"}': "0+2x12",
    'ray_vae_images_total{study="two"}': "0+9x12",
    f"ray_vae_checkpoint_bytes_total{{{ENDED}}}": "0+1000x6 6000x5",
    f"ray_vae_checkpoint_bytes_total{{{RUNS}}}": "0+500x12",
    f"ray_vae_trial_objective{{{ENDED}}}": "0.5x6 stale",
    f"ray_vae_trial_objective{{{RUNS}}}": "0.4x12",
    f"ray_vae_trial_best_objective{{{ENDED}}}": "0.5x6 stale",
    f"ray_vae_trial_best_objective{{{RUNS}}}": "0.6x12",
    f"ray_vae_trial_epoch{{{ENDED}}}": "1+1x6 stale",
    f"ray_vae_trial_epoch{{{RUNS}}}": "1+1x12",
    f"ray_vae_trial_images_per_second{{{ENDED}}}": "100x6 stale",
    f"ray_vae_trial_images_per_second{{{RUNS}}}": "300x12",
    'ray_component_cpu_percentage{Component="ray::0000-fc-4d"}': "50x6 0x6",  # so Ray says that it is gone
    'ray_component_cpu_percentage{Component="ray::0001-conv-8d"}': "70x12",
    'ray_component_cpu_percentage{Component="raylet"}': "5x12",
    'ray_component_rss_bytes{Component="ray::0000-fc-4d"}': "8e8x6 0x6",
    'ray_component_rss_bytes{Component="ray::0001-conv-8d"}': "9e8x12",
    'ray_component_rss_bytes{Component="raylet"}': "1e7x12",
}
SHOWN = {
    "Best objective": [{'ray_vae_best_objective{study="one", objective="val_ssim"}': 0.6}],
    "Trials by status": [{'ray_vae_trials{study="one", status="running"}': 1}],
    "Training images per second, all trials": [{"{}": 0.2}],
    "Checkpoints written": [{"{}": 12000}],
    "Best objective so far": [{'ray_vae_best_objective{study="one", objective="val_ssim"}': 0.6}],
    "Objective by trial, each epoch": [{f"ray_vae_trial_objective{{{RUNS}}}": 0.4}],
    "Trials, their best objective": [
        {f"ray_vae_trial_best_objective{{{ENDED}}}": 0.5, f"ray_vae_trial_best_objective{{{RUNS}}}": 0.6}
    ],
    "Epoch of each running trial": [{f"ray_vae_trial_epoch{{{RUNS}}}": 13}],
    "Training images per second": [{f"ray_vae_trial_images_per_second{{{RUNS}}}": 300}, {"{}": 300}],
    "Checkpoint bytes per second by trial": [{f"{{{ENDED}}}": 0, f"{{{RUNS}}}": 50}],
    "CPU by trial": [{'ray_component_cpu_percentage{Component="ray::0001-conv-8d"}': 70}],
    "Memory by trial": [{'ray_component_rss_bytes{Component="ray::0001-conv-8d"}': 9e8}],
}


def filled_in(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


@pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool; Debian has it in its package prometheus")
def test_each_panel_shows_what_it_says(tmp_path):
    expected = [
        {
            "expr": filled_in(target["expr"]),
            "eval_time": "2m",
            "exp_samples": [{"labels": labels, "value": value} for labels, value in samples.items()],
        }
        for panel in DASHBOARD["panels"]
        for target, samples in zip(panel["targets"], SHOWN[panel["title"]], strict=True)
    ]
    series = [{"series": series, "values": values} for series, values in EXPORTED.items()]
    test = {"interval": "10s", "input_series": series, "promql_expr_test": expected}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"tests": [test]}))
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
