"""What a run reads from elsewhere: a good file of each kind, what damages it, and what reads it."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from rich.console import Console

from evaluation.analysis.results import Results
from evaluation.embedders.precomputed import read_precomputed
from evaluation.report.page import render_report
from tests.conftest import write_study
from tests.fuzz.mutate import (
    Mutation,
    mutate_bytes,
    mutate_json,
    mutate_lines,
    mutate_safetensors,
    mutate_table,
    mutate_yaml,
    mutate_zip,
)
from tests.tune.conftest import KNN, budget_of
from tune.algorithms import journal
from tune.algorithms.proposals import proposed_params
from tune.overview import StudyFolder
from tune.space.file import DEFAULT_SPACE, load_space
from tune.status import StudyView
from tune.storage.run_directory import RunDirectory
from tune.study.plan import Plan
from tune.trials.checkpoints import newest_checkpoint, write_history
from vae.checkpoint import load_model, save_model
from vae.config import Config
from vae.data import load_dataset
from vae.data.folders import read_image
from vae.models import build_model
from vae.training.state import STATE_FILE, TrainingState, load_state

CONFIG = Config.from_params({"architecture": "fc", "latent_dim": 4, "width": 0.25})
TRIAL = "0000-fc-4d"
CHECKPOINT = f"ray/{TRIAL}/checkpoint_000000"


@dataclass(frozen=True)
class Target:
    """One kind of file."""

    name: str
    file: Path
    """A good one, in a place of its own."""
    mutations: tuple[Mutation, ...]
    read: Callable[[], Any]


def targets(folder: Path) -> Iterator[Target]:
    """Write a good file of each kind and yield it."""
    yield from _images(folder)
    yield from _arrays(folder)
    space = folder / "space.yaml"
    space.write_bytes(DEFAULT_SPACE.read_bytes())
    yield Target("space", space, (mutate_yaml, mutate_bytes), lambda: load_space(space))
    points = folder / "points.parquet"
    table = {"embedding": np.eye(12).tolist(), "label": [0, 1] * 6, "split": ["train", "test"] * 6}
    pq.write_table(pa.table(table), points)
    yield Target("points", points, (mutate_table, mutate_bytes), lambda: read_precomputed(points))
    yield from _run(folder)


def _images(folder: Path) -> Iterator[Target]:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for kind in ("png", "jpeg", "webp", "gif", "tiff", "bmp", "ppm"):
        file = folder / f"image.{kind}"
        Image.fromarray(pixels).save(file, exif=_exif()) if kind in ("png", "jpeg", "webp") else (
            Image.fromarray(pixels).save(file)
        )
        for resize in (None, 8):
            read = lambda file=file, resize=resize: read_image(file, str(file), resize)  # noqa: E731
            yield Target(f"{kind}, resize {resize}", file, (mutate_bytes,), read)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    return exif


def _arrays(folder: Path) -> Iterator[Target]:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    labels = np.arange(20) % 2
    npz, npy, rows, encoded = (folder / name for name in ("a.npz", "images.npy", "rows.parquet", "e.parquet"))
    np.savez_compressed(npz, images=images, labels=labels, groups=np.arange(20) // 2)
    np.save(npy, images)
    names = np.array(["cat", "dog"])[labels]
    pq.write_table(pa.table({"image": images.tolist(), "label": names}), rows)
    files = []
    for image in images:
        Image.fromarray(image).save(buffer := io.BytesIO(), "png")
        files.append({"bytes": buffer.getvalue(), "path": "a.png"})
    split = ["train"] * 15 + ["test"] * 5
    pq.write_table(pa.table({"image": files, "label": names, "split": split}), encoded)
    for file, mutations in (
        (npz, (mutate_zip, mutate_bytes)),
        (npy, (mutate_bytes,)),
        (rows, (mutate_table, mutate_bytes)),
        (encoded, (mutate_table, mutate_bytes)),
    ):
        yield Target(file.name, file, mutations, lambda file=file: load_dataset(file))


def _run(folder: Path) -> Iterator[Target]:
    run = write_study(folder / "runs" / "tiny")
    study = journal.create_study(run.journal_file, "tiny", [KNN], budget=budget_of(3))
    space = load_space()
    for number in range(3):
        trial = study.ask()
        space.sample(trial)
        trial.set_user_attr(journal.TRIAL_ID, f"{number:04d}-fc-4d")
        journal.record_values(study, trial._trial_id, 1, [0.5], quick=number == 1)
    state = TrainingState(CONFIG, build_model(CONFIG.model, (1, 8, 8)), epoch=1)
    state.save(run.path / CHECKPOINT)
    save_model(run.path / CHECKPOINT / "best", state.model, CONFIG, epoch=1)
    write_history(run.path / CHECKPOINT, [{"epoch": 1, "is_best": True}])
    model = run.checkpoints_dir / TRIAL

    def see() -> None:
        """What `tune status` and the report make of it."""
        console = Console(file=io.StringIO(), width=100)
        console.print(StudyView.read(run).view(console))
        folder = StudyFolder(RunDirectory(run.path.parent), lambda run: None)
        console.print(folder.read().view(console))
        render_report(Results.read(run), run.figures_dir)

    def read_plan() -> None:
        Plan.from_record(run.read_study())

    def read_journal() -> None:
        study = journal.open_study(run.journal_file)
        for trial in journal.proposed_trials(study):
            journal.curve(trial)
            journal.intended_state(trial)
            proposed_params(space, trial)

    both = (mutate_json, mutate_bytes)
    yield Target("study.json", run.study_file, both, see)
    yield Target("study.json, plan", run.study_file, both, read_plan)
    yield Target("trials.parquet", run.trials_file, (mutate_table, mutate_bytes), see)
    yield Target("epochs.parquet", run.epochs_file, (mutate_table, mutate_bytes), see)
    yield Target("journal", run.journal_file, (mutate_lines, mutate_bytes), read_journal)
    for name, mutations in (
        ("config.json", both),
        ("model.safetensors", (mutate_safetensors, mutate_bytes)),
    ):
        yield Target(f"checkpoint, {name}", model / name, mutations, lambda: load_model(model))
    for name, mutations in (
        (STATE_FILE, (mutate_safetensors, mutate_bytes)),
        ("history.json", both),
    ):
        place = run.path / CHECKPOINT

        def read_state(place: Path = place) -> None:
            newest_checkpoint(run, TRIAL)
            load_state(place, CONFIG)

        yield Target(f"state, {name}", place / name, mutations, read_state)
