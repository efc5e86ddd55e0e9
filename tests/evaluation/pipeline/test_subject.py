"""What an evaluation is of, before anything is computed."""

import pytest

from evaluation.pipeline.plan import Options
from evaluation.pipeline.subject import checkpoints_subject
from tune.storage.run_directory import RunDirectory
from vae.checkpoint import save_model
from vae.config import Config
from vae.models import build_model


@pytest.mark.parametrize(("dataset", "warns"), [("another", True), ("few", False), (None, False)])
def test_a_checkpoint_of_other_images_is_evaluated_with_a_warning(
    few_digits, tmp_path, caplog, dataset, warns
):
    config = Config.from_params({"latent_dim": 3, "width": 0.25})
    save_model(tmp_path / "vae", build_model(config.model, (1, 8, 8)), config, dataset=dataset)
    subject = checkpoints_subject([tmp_path / "vae"], few_digits, RunDirectory(tmp_path / "out"), Options())
    assert subject.record.finalists == ("vae",)
    assert (f"{tmp_path / 'vae'} was trained on other images than those of digits" in caplog.text) == warns
