"""An existing study that is opened for further work."""

import json

import numpy as np
import pytest

from tests.tune.conftest import SMALL_SPACE
from tune.storage.run_directory import RunDirectory
from tune.study.images import load_images
from tune.study.plan import Plan
from tune.study.session import create_study, open_study


def test_a_study_whose_objective_would_be_refused_today_still_opens(old_run):
    run = old_run("interrupted")
    content = json.loads(run.study_file.read_text())
    content["space"]["free_bits"] = {"choice": [0.0, 0.5]}
    content |= {"objective": ["val_loss"], "mode": "min", "modes": ["min"]}
    run.study_file.write_text(json.dumps(content))
    with open_study(run) as session:
        assert [(objective.name, objective.mode) for objective in session.objectives] == [("val_loss", "min")]


@pytest.mark.parametrize("kept", [True, False], ids=["arrays", "a path"])
def test_images_are_resized_again_when_a_study_is_opened(tmp_path, kept):
    images = np.random.default_rng(0).integers(0, 256, (40, 20, 30), dtype=np.uint8)
    np.savez(tmp_path / "large.npz", images=images)
    plan = Plan(
        dataset="arrays" if kept else str(tmp_path / "large.npz"),
        resize=8,
        space=SMALL_SPACE | {"batch_size": 16},
        storage=tmp_path,
        name="mine",
    )
    with create_study(plan, (images, None) if kept else None) as session:
        session.started = True
        assert session.data.train_images.shape == (27, 1, 8, 8)
        assert session.data.resize == 8
    run = RunDirectory(tmp_path / "mine")
    record = run.read_study()
    assert (record.dataset.resize, record.arguments["resize"]) == (8, 8)
    assert load_images(run, record.dataset).fingerprint == record.dataset.fingerprint
    with open_study(run) as session:
        assert session.data.resize == 8
