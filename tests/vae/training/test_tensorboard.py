from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from vae.__main__ import main
from vae.checkpoint import load_model
from vae.config import Config
from vae.data import ImageSet, load_dataset
from vae.data.splits import split_validation
from vae.errors import StorageError
from vae.inference import embed
from vae.models import build_model
from vae.training.loop import Report, train
from vae.training.state import TrainingState
from vae.training.tensorboard import TensorBoard

CONFIG = Config.from_params({"width": 0.1, "latent_dim": 4, "batch_size": 128, "max_epochs": 3})
TRAIN = ["train", "--dataset", "digits", "--device", "cpu", "--batch-size", "128", "--width", "0.1"]


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def read(directory):
    log = EventAccumulator(str(directory), size_guidance={"images": 0, "histograms": 0, "scalars": 0})
    return log.Reload()


def hyperparameters(log):
    content = log.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    return metadata.parse_session_start_info_plugin_data(content).hparams


def latent_spaces(directory):
    return text_format.Parse((directory / "projector_config.pbtxt").read_text(), ProjectorConfig()).embeddings


def an_epoch(digits, *, stop_reason=None, weight=None):
    model = build_model(CONFIG.model, digits.train.image_shape)
    if weight is not None:
        next(model.parameters()).data.fill_(weight)
    return Report(1, 1, {"train_loss": 1.0}, stop_reason, TrainingState(CONFIG, model.eval()))


def test_a_run_shows_its_metrics_distributions_and_images(digits, tmp_path):
    split = split_validation(digits.train, seed=0)
    board = TensorBoard(tmp_path, CONFIG, digits, split.validation, images=True)
    result = train(CONFIG, split.train, split.validation, on_report=board.log)
    log = read(tmp_path)
    for metric, tag in [
        ("train_loss", "train/loss"),
        ("val_ssim", "val/ssim"),
        ("active_units", "run/active_units"),
    ]:
        assert [(e.step, e.value) for e in log.Scalars(tag)] == [
            (epoch, pytest.approx(row[metric])) for epoch, row in enumerate(result.history, start=1)
        ]
    assert len(log.Tags()["scalars"]) == len(result.history[0])
    n = len(split.validation)
    assert [e.histogram_value.num for e in log.Histograms("latent/mean")] == [4 * n] * 3
    assert [e.histogram_value.num for e in log.Histograms("weights/encoder.1.weight")] == [40 * 64] * 3
    panels = log.Images("images/input_above_reconstruction")
    assert [e.step for e in panels] == [1, 2, 3]
    assert len(log.Images("images/samples_of_the_prior")) == 3


def test_scalars_alone_bring_no_images(tmp_path):
    main([*TRAIN, "--max-epochs", "1", "--output", str(tmp_path), "--tensorboard"])
    tags = read(tmp_path / "tensorboard").Tags()
    assert (tags["images"], bool(tags["scalars"]), bool(tags["histograms"])) == ([], True, True)
    assert not (tmp_path / "tensorboard" / "projector_config.pbtxt").exists()


def test_inputs_stand_above_their_reconstructions(digits, tmp_path):
    images = digits.train.subset(torch.arange(16))
    board = TensorBoard(tmp_path, CONFIG, digits, images, images=True)
    board.log(an_epoch(digits))
    (panel,) = read(tmp_path).Images("images/input_above_reconstruction")
    (tmp_path / "panel.png").write_bytes(panel.encoded_image_string)
    pixels = np.asarray(Image.open(tmp_path / "panel.png"))[..., 0]
    side = 8 * 12 + 2  # eight pixels, each shown as 12 × 12, and a border of two
    for number, image in enumerate(images.images):
        top, left = 2 + number // 8 * 2 * side, 2 + number % 8 * side
        assert (
            np.abs(pixels[top : top + 96 : 12, left : left + 96 : 12] - image[0].float().numpy()).max() <= 1
        )


def test_the_projector_has_latents_classes_and_thumbnails_of_the_same_images(digits, tmp_path):
    split = split_validation(digits.train, seed=0)
    main([*TRAIN, "--max-epochs", "3", "--output", str(tmp_path), "--tensorboard-images"])
    board = tmp_path / "tensorboard"
    newest, *older = latent_spaces(board)
    assert [e.tensor_name for e in (newest, *older)] == [f"latent_space:0000{epoch}" for epoch in (3, 2, 1)]
    loaded = load_model(tmp_path)
    shown = next(e for e in (newest, *older) if e.tensor_name.endswith(str(loaded.epoch)))
    latents = np.loadtxt(board / shown.tensor_path)
    np.testing.assert_allclose(latents, embed(loaded.model, split.validation.images), atol=1e-5)
    names = (board / shown.metadata_path).read_text().split()
    assert names == [digits.class_names[label] for label in split.validation.labels]
    sprite = np.asarray(Image.open(board / shown.sprite.image_path))[..., 0]
    width, height = shown.sprite.single_image_dim
    per_row = sprite.shape[1] // width
    row, column = divmod(len(names) - 1, per_row)
    last = sprite[row * height : (row + 1) * height, column * width : (column + 1) * width]
    assert np.abs(last.astype(float) - split.validation.images[-1, 0].numpy()).max() <= 1


@pytest.mark.parametrize(("height", "width", "labelled"), [(40, 20, True), (24, 64, False)])
def test_photos_of_any_shape_fit_the_projector(digits, tmp_path, height, width, labelled):
    images = np.random.default_rng(0).integers(0, 256, (20, height, width, 3), np.uint8)
    np.savez(tmp_path / "photos.npz", images=images, **({"labels": np.arange(20) % 2} if labelled else {}))
    photos = load_dataset(str(tmp_path / "photos.npz"))
    state = TrainingState(CONFIG, build_model(CONFIG.model, photos.train.image_shape).eval())
    board = TensorBoard(
        tmp_path, CONFIG, photos, ImageSet(photos.train.images, photos.train.labels), images=True
    )
    board.log(Report(1, 1, {}, None, state))
    (space,) = latent_spaces(tmp_path)
    side = max(height, width)
    assert list(space.sprite.single_image_dim) == [side, side]
    assert Image.open(tmp_path / space.sprite.image_path).size == (4 * side, 4 * side)  # 16 of the 20 train
    assert bool(space.metadata_path) == labelled


def test_a_resumed_run_has_each_epoch_once_and_its_new_hyperparameters(tmp_path):
    run = [*TRAIN, "--output", str(tmp_path), "--tensorboard-images"]
    main([*run, "--max-epochs", "2"])
    before = (tmp_path / "training.safetensors").read_bytes()
    main([*run, "--max-epochs", "3", "--resume"])
    (tmp_path / "training.safetensors").write_bytes(before)  # as if killed before the state was saved
    main([*run, "--max-epochs", "5", "--resume"])
    log = read(tmp_path / "tensorboard")
    for tag in ("train/loss", "val/ssim"):
        assert [e.step for e in log.Scalars(tag)] == [1, 2, 3, 4, 5]
    assert [e.step for e in log.Images("images/samples_of_the_prior")] == [1, 2, 3, 4, 5]
    assert [e.step for e in log.Histograms("latent/std")] == [1, 2, 3, 4, 5]
    assert hyperparameters(log)["max_epochs"].number_value == 5
    assert hyperparameters(log)["dataset"].string_value == "digits"
    spaces = [e.tensor_name for e in latent_spaces(tmp_path / "tensorboard")]
    assert spaces == [f"latent_space:0000{epoch}" for epoch in (5, 4, 3, 2, 1)]


def test_a_diverged_model_leaves_its_loss_and_no_distribution(digits, tmp_path):
    board = TensorBoard(tmp_path, CONFIG, digits, digits.train, images=True)
    board.log(an_epoch(digits, stop_reason="nan", weight=float("nan")))
    tags = read(tmp_path).Tags()
    assert (tags["scalars"], tags["histograms"], tags["images"]) == (["train/loss"], [], [])


def test_a_directory_that_cannot_be_written_is_one_line(digits):
    board = TensorBoard(Path("/proc/run"), CONFIG, digits, digits.train)
    with pytest.raises(StorageError, match="cannot write /proc/run"):
        board.log(an_epoch(digits))
