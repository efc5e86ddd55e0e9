"""Run directories of an earlier version open, resume and extend."""

import math

import pytest

import tune
from tests.processes import optuna_state
from tests.tune.conftest import open_journal
from tune.__main__ import main
from tune.storage.tables import read_table
from tune.study.plan import Plan
from vae.checkpoint import load_model
from vae.training.schedules import learning_rate_factor

N_TRAIN = 1198


def rows(run):
    return sorted(read_table(run.trials_file).to_pylist(), key=lambda row: row["number"])


def check_rates(run, row, schedule_epochs):
    """Check that the learning rate of every epoch is what this schedule has at the last step."""
    epochs = [each for each in read_table(run.epochs_file).to_pylist() if each["trial_id"] == row["trial_id"]]
    assert epochs[-1]["epoch"] == row["epochs"]
    steps = math.ceil(N_TRAIN / row["config_batch_size"])
    for each in epochs:
        last_step = math.ceil(each["epoch"] * steps - 1e-9) - 1
        factor = learning_rate_factor(row["config_schedule"], last_step / steps, schedule_epochs)
        assert each["learning_rate"] == pytest.approx(row["config_learning_rate"] * factor)


@pytest.mark.parametrize("name", ["finished", "interrupted"])
def test_they_open(old_run, name, capsys):
    run = old_run(name)
    assert main(["status", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert f"{name}: {'completed' if name == 'finished' else 'interrupted'}" in out
    for row in rows(run):
        assert row["trial_id"] in out
        config = load_model(run.path / row["checkpoint"]).config
        assert config.training.schedule_epochs == (row["config_max_epochs"],)
    assert Plan.from_record(run.read_study()).trials == run.read_study().arguments["trials"]


def test_a_trial_has_the_metrics_of_its_time(old_run):
    metrics = tune.load(old_run("finished").path).best_trial.metrics
    assert "val_ssim" in metrics
    assert "val_neighbour_recall" not in metrics


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
class TestOnRay:
    def test_an_interrupted_one_is_resumed(self, old_run):
        run = old_run("interrupted")
        before = {row["trial_id"]: row for row in rows(run)}
        assert main(["resume", str(run.path)]) == 0
        after = rows(run)
        assert len(after) == 4
        for row in after:
            assert row["stop_reason"] in (None, "collapsed")
            assert row["config_schedule_epochs"] == [12]
            check_rates(run, row, [12])
            assert row["seed"] == before.get(row["trial_id"], row)["seed"]
        assert [t.state.name for t in open_journal(run.path).trials] == [optuna_state(row) for row in after]

    def test_a_finished_one_is_extended(self, old_run):
        run = old_run("finished")
        before = rows(run)
        assert (
            main(["extend", str(run.path), "--trials", "1", "--max-epochs", "6", "--finalist-seeds", "0"])
            == 0
        )
        after = rows(run)
        assert len(after) == 7
        for old, new in zip(before, after, strict=False):
            if new["epochs"] == old["epochs"]:
                assert (new["status"], new["stop_reason"]) == (old["status"], old["stop_reason"])
                continue
            assert old["stop_reason"] in (None, "rung")
            assert new["config_schedule_epochs"] == [4, 6]
            check_rates(run, new, [4, 6])
        assert [row["epochs"] for row in after if row["trial_id"] in ("0000-unet-3d", "0004-resnet-3d")] == [
            6,
            6,
        ]
        assert after[6]["config_schedule_epochs"] == [6]
        states = [trial.state.name for trial in open_journal(run.path).trials]
        assert states == [optuna_state(row) for row in after]
