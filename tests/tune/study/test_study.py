"""The best trial of a study is the model that `vae.load` takes for its run directory."""

import json

import pyarrow.parquet as pq
import pytest

import tune
import vae
from tests.conftest import MAX_EPOCHS
from tune.storage.tables import TRIALS, write_table
from vae.checkpoint import find_checkpoint


@pytest.mark.parametrize(("mode", "best"), [("max", "0001-conv-10d"), ("min", "0004-fc-2d")])
def test_vae_load_takes_a_run_and_means_its_best_trial(study, mode, best):
    record = json.loads(study.study_file.read_text()) | {"mode": mode}
    study.study_file.write_text(json.dumps(record))
    found = tune.load(study.path).best_trial
    assert found.trial_id == best
    assert find_checkpoint(study.path) == found.checkpoint
    assert vae.load(study.path, device="cpu").config.model.latent_dim == found.params["latent_dim"]


def test_a_run_without_a_completed_trial_has_no_model_to_load(study):
    study.trials_file.unlink()
    with pytest.raises(vae.UsageError, match="no trial of .* has trained its full budget yet"):
        vae.load(study.path)


def test_an_extension_that_no_trial_has_completed_yet_hides_no_model(study):
    """Its trials run again; the best of the budget before is still there."""
    rows = pq.read_table(study.trials_file).to_pylist()
    for row in rows:
        row["status"] = "running" if row["status"] == "completed" else row["status"]
    write_table(rows, TRIALS, study.trials_file)
    record = json.loads(study.study_file.read_text())
    record["sessions"] = [{"status": "completed", "max_epochs": MAX_EPOCHS}, {"status": None}]
    record["arguments"]["max_epochs"] = 2 * MAX_EPOCHS
    study.study_file.write_text(json.dumps(record))
    assert find_checkpoint(study.path) == tune.load(study.path).best_trial.checkpoint
    assert find_checkpoint(study.path).name == "0001-conv-10d"
