"""What TensorBoard's projector is given."""

import csv
import io

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from evaluation.__main__ import main
from evaluation.analysis.results import Results
from evaluation.api import evaluate
from evaluation.embedders.files import read_embedding
from evaluation.figures.sprite import sprite, sprite_columns
from evaluation.pipeline import serial
from tests.evaluation.embedders.test_precomputed import write
from tune.storage.run_directory import RunDirectory
from vae.errors import UsageError


def read_config(run: RunDirectory) -> ProjectorConfig:
    text = (run.projector_dir / "projector_config.pbtxt").read_text()
    return text_format.Parse(text, ProjectorConfig())


def test_every_embedding_is_there_with_the_classes(evaluated, digits, capsys):
    assert main(["projector", str(evaluated.path)]) == 0
    assert f"tensorboard --logdir {evaluated.projector_dir}" in capsys.readouterr().out
    results, entries = Results.read(evaluated), read_config(evaluated).embeddings
    assert len(entries) == len(results.comparison.keys)
    (winner,) = (entry for entry in entries if results.winner in entry.tensor_name)
    points = np.loadtxt(evaluated.projector_dir / winner.tensor_path, delimiter="\t")
    stored = read_embedding(evaluated.embeddings_dir, results.comparison.winner.key).test
    np.testing.assert_allclose(points, stored, rtol=1e-4, atol=1e-6)
    rows = list(csv.DictReader((evaluated.projector_dir / "metadata.tsv").open(), delimiter="\t"))
    assert [row["class"] for row in rows] == [digits.class_names[i] for i in digits.test.labels]
    votes = results.scores.predictions_of(results.comparison.winner.key)["predicted"]
    assert [row["predicted"] for row in rows] == [digits.class_names[i] for i in votes]


def test_the_sprite_has_the_image_of_each_row_in_its_place(evaluated, digits):
    main(["projector", str(evaluated.path)])
    entry = read_config(evaluated).embeddings[0]
    width, height = entry.sprite.single_image_dim
    sheet = np.asarray(Image.open(evaluated.projector_dir / entry.sprite.image_path))
    columns = sheet.shape[1] // width
    for row in (0, columns, len(digits.test) - 1):
        top, left = row // columns * height, row % columns * width
        tile = sheet[top : top + height, left : left + width]
        np.testing.assert_array_equal(tile, digits.test.images[row, 0])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_sprite_of_any_number_of_channels_is_a_picture(channels):
    images = np.random.default_rng(0).integers(0, 255, (5, channels, 4, 6), dtype=np.uint8)
    sheet = np.asarray(Image.open(io.BytesIO(sprite(images, "PNG"))))
    assert sheet.shape[:2] == (2 * 4, 3 * 6)
    assert sprite_columns(5) == 3
    first = images[0, 0] if channels < 3 else images[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(sheet[:4, :6], first)


def test_an_embedding_without_images_has_its_classes_alone(tmp_path):
    points, labels = np.random.default_rng(0).normal(size=(60, 3)), ["cat", "dog"] * 30
    output = RunDirectory(tmp_path / "output")
    file = write(tmp_path / "mine.parquet", points, label=labels)
    evaluate(file, output=output.path, compute=serial.compute, progress=False)
    main(["projector", str(output.path)])
    (entry,) = read_config(output).embeddings
    assert not entry.sprite.image_path
    rows = list(csv.DictReader((output.projector_dir / "metadata.tsv").open(), delimiter="\t"))
    assert {row["class"] for row in rows} == {"cat", "dog"}


def test_a_run_that_is_not_evaluated_is_refused(study):
    with pytest.raises(UsageError, match=f"has no embeddings yet; say `python -m evaluation {study.path}`"):
        main(["projector", str(study.path)])


def test_a_directory_of_somebody_elses_is_left_alone(evaluated, tmp_path):
    (tmp_path / "projector").mkdir()
    (tmp_path / "projector" / "film").touch()
    with pytest.raises(UsageError, match=r"projector is not one of the projector's; choose another --output"):
        main(["projector", str(evaluated.path), "--output", str(tmp_path)])
    assert (tmp_path / "projector" / "film").exists()


def test_other_images_are_refused(evaluated):
    with pytest.raises(UsageError, match="not the one that was evaluated"):
        main(["projector", str(evaluated.path), "--dataset", "fmnist"])
