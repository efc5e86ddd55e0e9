"""What Embedding Atlas is given."""

import io

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from evaluation.__main__ import main
from evaluation.analysis.results import Results
from evaluation.api import evaluate
from evaluation.embedders.files import read_embedding
from evaluation.pipeline import serial


def test_the_file_holds_what_the_printed_command_names(evaluated, digits, capsys):
    assert main(["atlas", str(evaluated.path)]) == 0
    command = capsys.readouterr().out.splitlines()[-1].split()
    assert command[:2] == ["embedding-atlas", str(evaluated.atlas_file)]
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert options == {"--x": "vae_x", "--y": "vae_y", "--image": "image", "--neighbors": "neighbors"}
    table = pq.read_table(evaluated.atlas_file)
    assert set(options.values()) <= set(table.column_names)
    assert len(table) == len(digits.test)
    image = np.asarray(Image.open(io.BytesIO(table["image"][7].as_py()["bytes"])))
    np.testing.assert_array_equal(image, digits.test.images[7, 0])
    assert table["class"][7].as_py() == digits.class_names[digits.test.labels[7]]


def test_the_neighbours_are_those_in_the_best_vaes_latent_space(evaluated):
    main(["atlas", str(evaluated.path)])
    points = read_embedding(evaluated.embeddings_dir, Results.read(evaluated).comparison.winner.key).test
    row = pq.read_table(evaluated.atlas_file)["neighbors"][3].as_py()
    distances = np.linalg.norm(points - points[3], axis=1)
    np.testing.assert_allclose(row["distances"], np.sort(distances)[: len(row["ids"])], atol=1e-4)
    assert row["ids"][0] == 3


def test_without_a_vae_the_first_view_is_shown(study, capsys):
    evaluate(study, methods=["pca"], dims=[2], compute=serial.compute, progress=False)
    main(["atlas", str(study.path)])
    assert capsys.readouterr().out.splitlines()[-1].endswith("--x pca_x --y pca_y --image image")
