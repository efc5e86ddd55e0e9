"""The best trial of a study is the model that `vae.load` takes for its run directory."""

import json

import pytest

import tune
import vae
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
