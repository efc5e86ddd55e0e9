"""The kept model of a trial's best epoch, without Ray."""

from tune.storage.run_directory import RunDirectory
from tune.trials.checkpoints import BEST_DIR, keep_best
from vae.checkpoint import load_model, save_model
from vae.config import Config
from vae.models import build_model


def save(directory, epoch):
    config = Config.from_params({"architecture": "fc", "latent_dim": 2, "width": 0.25})
    save_model(directory, build_model(config.model, (1, 8, 8), seed=epoch), config, epoch=epoch)


def test_a_new_best_epoch_replaces_the_model_and_nothing_else_in_its_folder(tmp_path):
    run, trial_id = RunDirectory(tmp_path), "0000-fc-2d"
    save(run.ray_dir / trial_id / "checkpoint_000000" / BEST_DIR, 1)
    assert keep_best(run, trial_id, 1)
    older = run.checkpoint_dir(trial_id) / "seeds" / "5"  # where fresh seeds used to be
    save(older, 3)
    save(run.ray_dir / trial_id / "checkpoint_000001" / BEST_DIR, 2)
    assert keep_best(run, trial_id, 2)
    assert load_model(run.checkpoint_dir(trial_id)).epoch == 2
    assert load_model(older).epoch == 3


def test_models_of_fresh_seeds_do_not_lie_in_the_folder_of_the_trial(tmp_path):
    run = RunDirectory(tmp_path)
    assert run.checkpoint_dir("a") not in run.seed_checkpoint_dir("a", 1).parents
