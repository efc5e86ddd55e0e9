import math
from types import SimpleNamespace

import pytest

from vae.checkpoint import load_model
from vae.config import Config
from vae.models import build_model
from vae.training.best_model import BestModel
from vae.training.loop import Report

CONFIG = Config.from_params({"width": 0.1, "latent_dim": 2})


def epoch_end(epoch, stop_reason=None, **metrics):
    model = build_model(CONFIG.model, (1, 8, 8), seed=epoch)
    return Report(epoch, epoch, metrics, stop_reason, SimpleNamespace(model=model, config=CONFIG))


def test_the_epoch_with_the_lowest_value_is_kept_the_earlier_one_of_equals(tmp_path):
    best = BestModel(tmp_path, "val_loss", split_seed=7, dataset="abc")
    losses = enumerate([3.0, 1.0, 2.0, 1.0], start=1)
    assert [best.update(epoch_end(n, val_loss=loss)) for n, loss in losses] == [True, True, False, False]
    loaded = load_model(tmp_path)
    assert (best.epoch, loaded.epoch, loaded.metrics) == (2, 2, {"val_loss": 1.0})
    assert (loaded.split_seed, loaded.dataset) == (7, "abc")


def test_what_is_better_is_the_callers_choice(tmp_path):
    best = BestModel(tmp_path, "val_ssim", lambda value, than: than is None or value > than)
    assert [best.update(epoch_end(n, val_ssim=n)) for n in (1, 3, 2)] == [True, True, False]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_never_the_best(tmp_path, value):
    assert not BestModel(tmp_path).update(epoch_end(1, val_loss=value))
    assert list(tmp_path.iterdir()) == []


def test_a_diverged_epoch_is_never_the_best(tmp_path):
    assert not BestModel(tmp_path).update(epoch_end(1, "nan", val_loss=1.0))


def test_a_resumed_training_must_beat_the_model_that_is_there(tmp_path):
    BestModel(tmp_path).update(epoch_end(1, val_loss=2.0))
    resumed = BestModel(tmp_path, resume=True)
    assert not resumed.update(epoch_end(2, val_loss=2.5))
    assert resumed.epoch is None
    assert resumed.update(epoch_end(3, val_loss=1.5))


def test_a_new_training_replaces_the_model_that_is_there(tmp_path):
    BestModel(tmp_path).update(epoch_end(1, val_loss=2.0))
    assert BestModel(tmp_path).update(epoch_end(1, val_loss=2.5))
    assert load_model(tmp_path).metrics["val_loss"] == 2.5
