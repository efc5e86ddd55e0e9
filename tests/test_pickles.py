"""A run directory or images from somebody else run no code: nothing in them is loaded as a pickle.

What Tune itself pickles into a run is in `tests/tune/test_resume.py`, the state of CMA-ES in the journal in
`tests/tune/algorithms/test_safe_cmaes.py`.
"""

import contextlib
import shutil
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.analysis.results import Results
from evaluation.api import evaluate
from evaluation.embedders import EmbeddingKey
from evaluation.embedders.files import read_embedding
from evaluation.embedders.precomputed import read_precomputed
from evaluation.pipeline import serial
from evaluation.record import EvaluationRecord
from tests.conftest import write_study
from tests.pickle_bomb import Bomb
from tests.tune.conftest import KNN, budget_of
from tune.algorithms import journal
from tune.space.file import load_space
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table
from tune.trials.checkpoints import BEST_DIR, HISTORY_FILE, newest_checkpoint, write_history
from vae.checkpoint import CONFIG_FILE, MODEL_FILE, load_model, save_model
from vae.config import Config
from vae.data import load_dataset
from vae.errors import StorageError, UsageError
from vae.models import build_model
from vae.training.state import STATE_FILE, TrainingState, load_state

CONFIG = Config.from_params({"architecture": "fc", "latent_dim": 4, "width": 0.25})
TRIAL, PCA = "0000-fc-4d", EmbeddingKey("pca", 2)
PCA_ALONE = dict(methods=["pca"], dims=[2])
CHECKPOINT = f"ray/{TRIAL}/checkpoint_000000"

READERS = {
    "study.json": RunDirectory.read_study,
    "evaluation.json": lambda run: EvaluationRecord.read(run.evaluation_file),
    "trials.parquet": Results.read,
    "epochs.parquet": Results.read,
    "evaluations.parquet": Results.read,
    "predictions.parquet": Results.read,
    "finalist_seeds.parquet": Results.read,
    "optuna.journal": lambda run: journal.open_study(run.journal_file, run.path.name),
    "embeddings/dim=2/name=pca/part-0.parquet": lambda run: read_embedding(run.embeddings_dir, PCA),
    f"checkpoints/{TRIAL}/{MODEL_FILE}": lambda run: load_model(run.checkpoint_dir(TRIAL)),
    f"checkpoints/{TRIAL}/{CONFIG_FILE}": lambda run: load_model(run.checkpoint_dir(TRIAL)),
    f"{CHECKPOINT}/{STATE_FILE}": lambda run: load_state(run.path / CHECKPOINT, CONFIG),
    f"{CHECKPOINT}/{CONFIG_FILE}": lambda run: load_state(run.path / CHECKPOINT, CONFIG),
}
"""What the commands read of a run directory, and what reads it."""


@pytest.fixture
def bomb(tmp_path):
    """Checks at the end that nothing has loaded it, and that loading it would have shown."""
    bomb = Bomb(tmp_path)
    with bomb.stays_whole():
        yield bomb


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A searched and evaluated run, with what Ray has left of a trial."""
    run = write_study(tmp_path_factory.mktemp("written") / "tiny")
    evaluate(run, **PCA_ALONE, compute=serial.compute, progress=False)
    journal.create_study(run.journal_file, run.path.name, [KNN], budget=budget_of(1))
    state = TrainingState(CONFIG, build_model(CONFIG.model, (1, 8, 8)), epoch=1)
    state.save(run.path / CHECKPOINT)
    save_model(run.path / CHECKPOINT / BEST_DIR, state.model, CONFIG, epoch=1)
    write_history(run.path / CHECKPOINT, [{"epoch": 1, "is_best": True}])
    return run


@pytest.fixture
def run(written, tmp_path):
    return RunDirectory(shutil.copytree(written.path, tmp_path / written.path.name))


@pytest.mark.parametrize("name", READERS)
def test_no_file_of_a_run_is_loaded_as_a_pickle(run, bomb, name):
    read = partial(READERS[name], run)
    if name != "finalist_seeds.parquet":  # not every study has one
        read()
    (run.path / name).write_bytes(bomb.content)
    with pytest.raises(StorageError):
        read()


@pytest.mark.parametrize("name", [HISTORY_FILE, STATE_FILE, f"{BEST_DIR}/{MODEL_FILE}"])
def test_a_checkpoint_with_a_pickle_in_it_is_not_taken_up(run, bomb, name):
    assert newest_checkpoint(run, TRIAL)
    (run.path / CHECKPOINT / name).write_bytes(bomb.content)
    assert newest_checkpoint(run, TRIAL) is None


def test_the_work_of_an_earlier_evaluation_is_done_again_if_it_holds_a_pickle(run, bomb):
    expected = read_table(run.evaluations_file).drop(["seconds"])
    kept = [path for path in run.cache_dir.rglob("*.parquet") if path.name != "part-0.parquet"]
    assert kept
    for path in kept:
        path.write_bytes(bomb.content)
    evaluate(run, **PCA_ALONE, compute=serial.compute, progress=False)
    assert read_table(run.evaluations_file).drop(["seconds"]).equals(expected)


@pytest.mark.parametrize("read", [read_table, read_precomputed, lambda file: load_dataset(str(file))])
@pytest.mark.parametrize("extension", [False, True])
def test_a_parquet_file_with_a_pickle_is_only_data(tmp_path, bomb, read, extension):
    """Arrow had a type that was kept as a pickle in the schema, and loaded on reading (CVE-2023-47248)."""
    file = tmp_path / "given.parquet"
    if extension:
        kept = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": bomb.content}
        field = pa.field("embedding", pa.list_(pa.float32()), metadata=kept)
        pq.write_table(pa.table([[[0.0, 1.0]]], schema=pa.schema([field])), file)
    else:
        file.write_bytes(bomb.content)
    with contextlib.suppress(StorageError, UsageError):
        read(file)


@pytest.mark.parametrize("inside", [False, True])
def test_images_of_an_archive_are_not_loaded_as_a_pickle(tmp_path, bomb, inside):
    file = tmp_path / "given.npz"
    if inside:
        np.savez(file, images=np.array([bomb.pickled] * 20, dtype=object))
    else:
        file.write_bytes(bomb.content)
    with pytest.raises(StorageError):
        load_dataset(str(file))


def test_images_of_a_folder_are_not_loaded_as_a_pickle(tmp_path, bomb):
    for name in ("a", "b"):
        (tmp_path / "given" / name).mkdir(parents=True)
        for number in range(10):
            (tmp_path / "given" / name / f"{number}.png").write_bytes(bomb.content)
    with pytest.raises(StorageError):
        load_dataset(str(tmp_path / "given"))


def test_a_space_file_calls_nothing(tmp_path, bomb):
    (tmp_path / "space.yaml").write_text(f"latent_dim: !!python/object/apply:os.makedirs ['{bomb.mark}']\n")
    with pytest.raises(UsageError, match="not valid YAML"):
        load_space(tmp_path / "space.yaml")
