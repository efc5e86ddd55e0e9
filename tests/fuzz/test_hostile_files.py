"""Files made to harm: each is read or refused with an error of ours; and what `make fuzz` has found."""

import contextlib
import io
import json
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evaluation.analysis.results import Results
from evaluation.embedders.precomputed import read_precomputed
from evaluation.report.page import render_report
from tests.conftest import write_study
from tests.fuzz.__main__ import try_one
from tests.fuzz.targets import CHECKPOINT, TRIAL, targets
from tune.__main__ import main
from tune.algorithms import journal
from tune.space.file import load_space
from tune.storage.run_directory import RunDirectory
from tune.trials.checkpoints import newest_checkpoint
from vae.data import load_dataset
from vae.data.folders import read_image
from vae.errors import Error, StorageError, UsageError

TRIES = 2
SCRIPT = "<script>alert(1)</script>"


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_refused(tmp_path):
    for target in targets(tmp_path):
        good = target.file.read_bytes()
        for seed in range(TRIES):
            assert try_one(target, good, seed) is None, (target.name, seed)


@pytest.fixture
def run(tmp_path):
    return write_study(tmp_path / "runs" / "tiny")


STUDIES = [
    {"created_at": "x"},
    {"timings": {"search_s": "long"}},
    {"objective": [["val_ssim"]]},
    {"objective": ["no_such_metric"]},
    {"seed": " "},
    {"max_epochs": {}},
    {"space": {"latent_dim": {"int": [2]}}},
    {"space": {"latent_dim": {"other": 1}}},
    {"sessions": [1]},
    {"arguments": {}},
    {"code": {"sha": 3}},
    {"hardware": {"gpus": 1}},
    {"finalists": None},
]


@pytest.mark.parametrize("change", STUDIES, ids=str)
def test_a_study_record_with_other_values_is_refused_or_shown(run, change, capsys):
    run.study_file.write_text(json.dumps(json.loads(run.study_file.read_text()) | change))
    for read in (
        lambda: main(["status", str(run.path)]),
        lambda: render_report(Results.read(run), run.figures_dir),
    ):
        with contextlib.suppress(Error):
            read()


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("status", ["done"] * 5),
        ("status", [None] * 5),
        ("objective", ["good"] * 5),
        ("trial_id", [None] * 5),
    ],
)
def test_a_table_with_other_values_is_refused(run, column, values):
    table = pq.ParquetFile(run.trials_file).read()
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, column, pa.array(values, pa.string())), run.trials_file)
    with pytest.raises(StorageError, match=column if "done" not in values else "no status of a trial"):
        main(["status", str(run.path)])


def test_a_table_without_a_column_is_one_of_an_older_version(run, capsys):
    table = pq.ParquetFile(run.trials_file).read()
    pq.write_table(table.drop_columns(["config_architecture", "epochs"]), run.trials_file)
    assert main(["status", str(run.path)]) == 0


@pytest.mark.parametrize("history", [None, 3, [True], [{}], {"a": 1}])
def test_a_checkpoint_with_another_history_is_none(tmp_path, history):
    found = {target.name: target for target in targets(tmp_path)}["state, history.json"]
    run_path = found.file.parents[3]
    found.file.write_text(json.dumps(history))
    assert (run_path / CHECKPOINT).is_dir()
    assert newest_checkpoint(RunDirectory(run_path), TRIAL) is None


def test_a_journal_of_another_kind_is_refused(tmp_path):
    file = tmp_path / "optuna.journal"
    for line in ("3", "{}", "[]", '{"op_code": 99, "worker_id": 1}', '{"op_code": 0, "worker_id": "a"}'):
        file.write_text(line + "\n")
        with pytest.raises(StorageError):
            journal.open_study(file)


def test_aliases_do_not_multiply(tmp_path):
    """A billion laughs: nine levels, each ten times the one before."""
    lines = ["a0: &a0 [1, 1]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (tmp_path / "space.yaml").write_text("\n".join(lines))
    with pytest.raises(UsageError):
        load_space(tmp_path / "space.yaml")
    (tmp_path / "space.yaml").write_text("\n".join([*lines, "latent_dim: {choice: *a9}"][-1:] + lines))
    with pytest.raises(UsageError):
        load_space(tmp_path / "space.yaml")


def test_an_image_of_billions_of_pixels_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (8, 8)).save(buffer := io.BytesIO(), "png")
    content = bytearray(buffer.getvalue())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(content)
    for resize in (None, 16):
        with pytest.raises(Error):
            read_image(tmp_path / "bomb.png", "bomb.png", resize)


def test_an_archive_that_unpacks_to_more_than_the_memory_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 28, 28)}
    )
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue())
    with pytest.raises(StorageError, match="says that it has"):
        load_dataset(tmp_path / "bomb.npz")


def test_a_header_that_is_no_expression_is_refused(tmp_path):
    header = b"{'descr': '|u1', 'shape': (1,"
    np.save(good := io.BytesIO(), np.zeros((20, 8, 8), np.uint8))
    content = good.getvalue()[:10] + header.ljust(118) + good.getvalue()[128:]
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", content)
    (tmp_path / "a.npy").write_bytes(content)
    for name in ("a.npz", "a.npy"):
        with pytest.raises(StorageError):
            load_dataset(tmp_path / name)


def test_markup_in_names_is_text_in_the_report(run):
    study = json.loads(run.study_file.read_text())
    study |= {"name": SCRIPT, "dataset": study["dataset"] | {"name": SCRIPT}}
    run.study_file.write_text(json.dumps(study))
    table = pq.ParquetFile(run.trials_file).read()
    for column in ("trial_id", "error", "node"):
        at, values = table.column_names.index(column), [f"{n}{SCRIPT}" for n in range(5)]
        table = table.set_column(at, table.schema.field(column), pa.array(values))
    pq.write_table(table.replace_schema_metadata(), run.trials_file)
    explorer = {"classes": [SCRIPT], "tables": {SCRIPT: "</script><script>alert(1)"}}
    try:
        html = render_report(Results.read(run), run.figures_dir, explorer)
    except StorageError:  # the ids lead out of the directory
        ids = pa.array([f"{n}<script>alert(1)<script>" for n in range(5)])
        table = table.set_column(1, table.schema.field("trial_id"), ids)
        pq.write_table(table, run.trials_file)
        html = render_report(Results.read(run), run.figures_dir, explorer)
    assert "alert(1)" in html
    assert "<script>alert" not in html
    assert "</script><script>" not in html.replace("</script>\n<script>", "")


def test_a_condition_that_never_holds_is_refused(tmp_path):
    text = "architecture: {choice: [fc, conv]}\nwidth: {float: [0.5, 1], when: {architecture: []}}\n"
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(UsageError):
        load_space(tmp_path / "space.yaml")


def test_a_label_that_is_no_utf8_is_refused(tmp_path):
    text = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.array([0, 1, 2], pa.int32()).buffers()[1], pa.py_buffer(b"a\xff")]
    )
    pq.write_table(pa.table({"embedding": [[0.0], [1.0]], "label": text}), tmp_path / "points.parquet")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_precomputed(tmp_path / "points.parquet")


def test_a_starting_point_whose_name_is_a_number_is_refused(tmp_path):
    (tmp_path / "space.yaml").write_text("latent_dim: {int: [2, 8]}\nstart:\n  - {1: 2}\n")
    with pytest.raises(UsageError, match="1"):
        load_space(tmp_path / "space.yaml")
