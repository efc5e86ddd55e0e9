import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from vae.checkpoint import CONFIG_FILE, MODEL_FILE, find_checkpoint, is_whole, load_model, save_model
from vae.config import ARCHITECTURES, Config
from vae.errors import StorageError, UsageError
from vae.models import build_model


@pytest.fixture
def saved(tmp_path):
    config = Config.from_params({"latent_dim": 3, "width": 0.2})
    model = build_model(config.model, (1, 12, 10), seed=5)
    save_model(tmp_path, model, config, epoch=7, metrics={"val_ssim": 0.5})
    return tmp_path


def test_what_the_images_were_resized_to_is_kept_and_left_out_if_they_were_not(saved):
    keys = {"format_version", "image_shape", "n_classes", "params"}
    assert set(json.loads((saved / CONFIG_FILE).read_text())) == keys
    loaded = load_model(saved)
    assert loaded.resize is None
    save_model(saved, loaded.model, loaded.config, resize=12)
    assert set(json.loads((saved / CONFIG_FILE).read_text())) == keys | {"resize"}
    assert load_model(saved).resize == 12


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_is_rebuilt_from_its_checkpoint_alone(tmp_path, architecture):
    config = Config.from_params(
        {"architecture": architecture, "latent_dim": 3, "width": 0.2, "kl_weight": 0.3}
    )
    model = build_model(config.model, (3, 12, 10), seed=5).eval()
    save_model(tmp_path, model, config, epoch=7, metrics={"val_ssim": 0.5})
    loaded = load_model(tmp_path)
    assert (loaded.config, loaded.image_shape, loaded.epoch) == (config, (3, 12, 10), 7)
    assert loaded.metrics == {"val_ssim": 0.5}
    images = torch.rand(4, 3, 12, 10)
    assert torch.equal(loaded.model.encode(images).mean, model.encode(images).mean)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG_FILE, MODEL_FILE]


def test_an_interrupted_write_leaves_the_old_checkpoint(saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def crash(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", crash)
    loaded = load_model(saved)
    with pytest.raises(StorageError, match="cannot write .*No space left on device"):
        save_model(saved, loaded.model, loaded.config, epoch=8)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_a_pickle_in_place_of_the_weights_is_refused_and_not_executed(saved, monkeypatch):
    monkeypatch.chdir(saved)
    (saved / MODEL_FILE).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(StorageError, match="model.safetensors is damaged or not a checkpoint's"):
        load_model(saved)
    assert not (saved / "exploded").exists()


def test_a_truncated_file_is_refused(saved):
    content = (saved / MODEL_FILE).read_bytes()
    (saved / MODEL_FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(StorageError, match="is damaged"):
        load_model(saved)


@pytest.mark.parametrize("name", [MODEL_FILE, CONFIG_FILE])
@pytest.mark.parametrize("damage", ["lost", "empty", "cut", "zeros"])
def test_files_that_are_there_need_not_be_whole(saved, name, damage):
    assert is_whole(saved)
    content = (saved / name).read_bytes()
    left = {"empty": b"", "cut": content[:-7], "zeros": bytes(len(content))}
    (saved / name).write_bytes(left.get(damage, content))
    if damage == "lost":
        (saved / name).unlink()
    assert not is_whole(saved)


def test_a_header_that_is_no_object_is_refused(saved):
    save_file({"a": torch.zeros(2)}, saved / MODEL_FILE, metadata={"json": "[]"})
    with pytest.raises(StorageError, match="is damaged or not a checkpoint's: its header is no JSON object"):
        load_model(saved)


def test_weights_of_another_model_are_refused(saved):
    save_file({"decoder.weight": torch.zeros(2)}, saved / MODEL_FILE)
    with pytest.raises(StorageError, match="does not belong to the config.json beside it"):
        load_model(saved)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format_version": 1, "image_shape": [1, 2], "params": {}}']
)
def test_a_damaged_config_is_refused(saved, content):
    (saved / CONFIG_FILE).write_text(content)
    with pytest.raises(StorageError, match="config.json is damaged"):
        load_model(saved)


def test_a_config_with_a_wrong_value_names_it(saved):
    content = json.loads((saved / CONFIG_FILE).read_text())
    content["params"]["architecture"] = "vgg"
    (saved / CONFIG_FILE).write_text(json.dumps(content))
    with pytest.raises(StorageError, match="architecture must be one of"):
        load_model(saved)


def test_a_folder_that_is_no_checkpoint_says_so(tmp_path):
    with pytest.raises(StorageError, match="is not a checkpoint: it has no config.json"):
        load_model(tmp_path)


def test_what_is_neither_a_checkpoint_nor_a_search_is_a_users_mistake(tmp_path):
    with pytest.raises(UsageError, match=r"is not a checkpoint: it has no config.json; a run of a search"):
        find_checkpoint(tmp_path)
    with pytest.raises(UsageError, match=r"there is no \S+/missing; name a run of a search"):
        find_checkpoint(tmp_path / "missing")
    with pytest.raises(UsageError, match=r"tune.load\('s3://bucket/run'\).best_trial.checkpoint"):
        find_checkpoint("s3://bucket/run")
