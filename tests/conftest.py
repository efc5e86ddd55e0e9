"""What several test packages share: a Ray cluster and a small study."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from IPython import display
from IPython.display import Pretty

from evaluation.api import evaluate
from evaluation.pipeline import serial
from evaluation.report import page as report
from tune.cluster.session import ray_session
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import EPOCHS, TRIALS, write_table
from vae.checkpoint import save_model
from vae.config import Config
from vae.data import load_dataset
from vae.models import build_model

if TYPE_CHECKING:
    from tests.s3_server import S3Server

MAX_EPOCHS = 3
OLD_RUNS = Path(__file__).parent / "old_runs"


@pytest.fixture(autouse=True)
def _only_wanted_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the figures out of a report, most of its time, unless the test is marked as one about them."""
    if request.node.get_closest_marker("figures") is None:
        monkeypatch.setattr(report, "write_figures", lambda *_, **__: None)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a notebook's cell shows, line by line."""
    shown: list[str] = []

    class Line:
        def __init__(self) -> None:
            self.number = len(shown) - 1

        def update(self, text: Pretty) -> None:
            shown[self.number] = text.data

    def show(text: Pretty, display_id: bool) -> Line:
        shown.append(text.data)
        return Line()

    monkeypatch.setattr(display, "display", show)
    return shown


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One quiet Ray cluster of two CPUs for the whole session: starting one takes seconds.

    Its workers wait for the next test: each would import torch anew.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("RAY_idle_worker_killing_time_threshold_ms", "600000")
        with ray_session(cpus=2, dashboard=False):
            yield


@pytest.fixture(scope="session")
def _s3_server() -> Iterator["S3Server"]:
    from tests.s3_server import s3_server  # moto takes a second to import

    with s3_server() as server:
        yield server


@pytest.fixture
def s3(_s3_server: "S3Server") -> Iterator["S3Server"]:
    """An S3 server with one bucket, without faults."""
    _s3_server.requests.clear()
    yield _s3_server
    _s3_server.serve()


def write_study(path: Path) -> RunDirectory:
    """Write what a finished search of digits leaves: three full trials, one stopped, one failed.

    There is no evaluation yet. The VAEs are untrained; which is best is a matter of what the tables say.
    """
    run = RunDirectory(path)
    path.mkdir(parents=True)
    dataset = load_dataset("digits")
    trials, epochs = [], []
    for number, (status, stop_reason, objective, params) in enumerate(
        [
            ("completed", None, 0.90, {"architecture": "fc", "latent_dim": 4}),
            (
                "completed",
                None,
                0.95,
                {"architecture": "conv", "latent_dim": 10, "reconstruction_loss": "mse"},
            ),
            ("stopped_early", "rung", 0.97, {"architecture": "fc", "latent_dim": 3}),
            ("failed", "nan", None, {"architecture": "fc", "latent_dim": 3}),
            ("completed", None, 0.80, {"architecture": "fc", "latent_dim": 2}),
        ]
    ):
        trial_id = f"000{number}-{params['architecture']}-{params['latent_dim']}d"
        config = Config.from_params(params | {"width": 0.25})
        model = build_model(config.model, dataset.train.image_shape, seed=number)
        save_model(run.checkpoint_dir(trial_id), model, config)
        n_epochs = MAX_EPOCHS if status == "completed" else 1
        trials.append(
            {
                "study": path.name,
                "trial_id": trial_id,
                "number": number,
                "status": status,
                "stop_reason": stop_reason,
                "objective": objective,
                "val_knn_accuracy": objective,
                "best_epoch": n_epochs,
                "checkpoint": f"checkpoints/{trial_id}",
                "epochs": n_epochs,
                "n_parameters": 1234,
                "started_at": datetime(2026, 1, 2, tzinfo=UTC),
                "train_seconds": 1.5,
                **{f"config_{name}": value for name, value in config.to_params().items()},
            }
        )
        for epoch in range(1, n_epochs + 1):
            value = None if objective is None else objective - 0.01 * (n_epochs - epoch)
            epochs.append(
                {
                    "study": path.name,
                    "trial_id": trial_id,
                    "epoch": epoch,
                    "val_knn_accuracy": value,
                    "val_loss": 1.0,
                }
            )
    write_table(trials, TRIALS, run.trials_file)
    write_table(epochs, EPOCHS, run.epochs_file)
    study = {
        "name": path.name,
        "status": "completed",
        "created_at": "2026-01-02T03:04:05+00:00",
        "finished_at": "2026-01-02T03:05:05+00:00",
        "arguments": {"trials": 5, "dataset": "digits"},
        "dataset": {"name": "digits", "path": "digits", "data_dir": None, "fingerprint": dataset.fingerprint},
        "seed": 0,
        "objective": ["val_knn_accuracy"],
        "mode": "max",
        "max_epochs": MAX_EPOCHS,
        "knn_references": 1000,
        "space": {"architecture": {"choice": ["fc", "conv"]}, "latent_dim": {"int": [2, 10]}},
        "versions": {"python": "3.11"},
        "code": {"sha": "0123456789abcdef", "dirty": False},
        "hardware": {"cpu": "a processor", "cpus": 2, "memory_gib": 24.0, "gpus": []},
        "finalists": 3,
        "timings": {"search_s": 60.0, "occupancy": 0.84},
    }
    run.study_file.write_text(json.dumps(study))
    return run


@pytest.fixture
def study(tmp_path: Path) -> RunDirectory:
    """A finished search, not evaluated yet."""
    return write_study(tmp_path / "runs" / "tiny")


@pytest.fixture
def study_uri(s3: "S3Server", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same as another machine has left it under a URI; what is fetched goes to ``tmp_path / "here"``."""
    uri = s3.uri(f"{tmp_path.name}/tiny")
    run = RunDirectory.resolve(uri)
    written = write_study(tmp_path / "there" / "tiny")
    shutil.copytree(written.path, run.path, dirs_exist_ok=True)
    run.push()
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "here"))
    return uri


@pytest.fixture
def old_run(tmp_path: Path) -> Callable[[str], RunDirectory]:
    """Return a function that copies a run directory of commit 7dcbb4c, both searches of digits.

    ``finished``: six trials of up to four epochs (completed, collapsed, stopped at a rung), evaluated, with a
    fresh seed for each of two finalists. ``interrupted``: two of four trials had begun when Ctrl-C came. Of
    Ray's files they have checkpoints alone; neither evaluates when it is resumed or extended.
    """
    return lambda name: RunDirectory(shutil.copytree(OLD_RUNS / name, tmp_path / "runs" / name))


@pytest.fixture(scope="session")
def evaluated_once(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The same, evaluated without Ray and UMAP, whose compiler takes half a minute; do not change it.

    Its figures are drawn.
    """
    run = write_study(tmp_path_factory.mktemp("evaluated") / "runs" / "tiny")
    options = dict(methods=["raw", "pca", "vae"])
    evaluate(run, finalists=2, **options, compute=serial.compute, progress=False)
    return run


@pytest.fixture
def evaluated(evaluated_once: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy of it."""
    return RunDirectory(shutil.copytree(evaluated_once.path, tmp_path / "runs" / "tiny"))
