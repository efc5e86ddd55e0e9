"""The digits dataset, quick embeddings of it, and finalists with fresh seeds."""

import shutil

import pytest
import torch

from evaluation.api import evaluate
from evaluation.embedders import Images
from evaluation.pipeline import serial
from evaluation.report import page as report
from tests.conftest import write_study
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import FINALIST_SEEDS, TRIALS, read_table, write_table
from vae.checkpoint import read_config, save_model
from vae.config import Config
from vae.data import Dataset, ImageSet, load_dataset
from vae.models import build_model


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def images(digits) -> Images:
    return Images.from_dataset(digits)


@pytest.fixture(scope="session")
def few_digits(digits) -> Dataset:
    """The first 300 training and 100 test images."""
    train, test = digits.train.subset(torch.arange(300)), digits.test.subset(torch.arange(100))
    return Dataset("digits", train, test, digits.class_names, "few")


@pytest.fixture(scope="session")
def unlabelled(few_digits) -> Dataset:
    train, test = (ImageSet(part.images, None) for part in (few_digits.train, few_digits.test))
    return Dataset("unlabelled", train, test, (), "unlabelled")


BEST, SECOND = "0001-conv-10d", "0000-fc-4d"


def write_fresh_seeds(run: RunDirectory, objectives: dict[str, list[float | None]]) -> None:
    """Write what training finalists anew leaves: seeds 1, 2, … with these objectives, None for a failure."""
    rows = []
    for trial_id, values in objectives.items():
        saved = read_config(run.checkpoint_dir(trial_id))
        config, shape = saved.config, saved.image_shape
        for seed, value in enumerate(values, start=1):
            row = {"study": run.path.name, "trial_id": trial_id, "seed": seed, "max_epochs": 3}
            if value is None:
                rows.append(row | {"status": "failed", "stop_reason": "nan"})
                continue
            directory = run.seed_checkpoint_dir(trial_id, seed)
            replica = Config.from_params(config.to_params() | {"seed": seed})
            save_model(directory, build_model(replica.model, shape, seed=100 + seed), replica)
            checkpoint = directory.relative_to(run.path).as_posix()
            row |= {"status": "completed", "objective": value, "val_knn_accuracy": value, "best_epoch": 2}
            rows.append(row | {"checkpoint": checkpoint})
    write_table(rows, FINALIST_SEEDS, run.finalist_seeds_file)


def add_objective(run: RunDirectory, ssim: dict[str, float], front: set[str]) -> None:
    """Make a study one of two objectives: the SSIM of trials at every epoch, and who is on the front."""
    study = run.read_study()
    study.objectives, study.modes = ["val_knn_accuracy", "val_ssim"], ["max", "max"]
    study.write(run.study_file)
    trials, epochs = (read_table(path) for path in (run.trials_file, run.epochs_file))
    rows = [row | {"pareto": row["trial_id"] in front} for row in trials.to_pylist()]
    write_table(rows, TRIALS, run.trials_file)
    values = [row | {"val_ssim": ssim.get(row["trial_id"])} for row in epochs.to_pylist()]
    write_table(values, epochs.schema, run.epochs_file)


@pytest.fixture(scope="session")
def reseeded_once(tmp_path_factory) -> RunDirectory:
    """A study whose second finalist is the better one by its fresh seeds, evaluated; do not change it.

    Its figures are not drawn.
    """
    run = write_study(tmp_path_factory.mktemp("reseeded") / "runs" / "tiny")
    write_fresh_seeds(run, {BEST: [0.80, 0.81, None], SECOND: [0.90, 0.91, 0.92]})
    options = dict(methods=["pca", "vae"], dims=[2])
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(report, "write_figures", lambda *_, **__: None)
        evaluate(run, finalists=2, **options, compute=serial.compute, progress=False)
    return run


@pytest.fixture
def reseeded(reseeded_once, tmp_path) -> RunDirectory:
    """A copy of it."""
    return RunDirectory(shutil.copytree(reseeded_once.path, tmp_path / "runs" / "tiny"))
