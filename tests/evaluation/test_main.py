"""The command line: what it does and what it says to bad input."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evaluation.__main__ import main
from evaluation.pipeline import run as pipeline_run
from evaluation.pipeline import serial
from tune.storage.tables import TRIALS, read_table, write_table
from vae.command_line import exit_code
from vae.errors import StorageError, UsageError

ROOT = Path(__file__).parents[2]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_a_run_is_evaluated_and_summed_up(study, capsys):
    assert main([str(study.path), "--methods", "pca,vae", "--dims", "2", "--finalists", "1"]) == 0
    output = capsys.readouterr().out
    assert "best 0001-conv-10d" in output
    assert str(study.report_file) in output
    assert set(read_table(study.evaluations_file)["trial_id"].to_pylist()) == {None, "0001-conv-10d"}


@pytest.fixture
def in_this_process(monkeypatch):
    """Evaluate in this process, not on Ray."""
    monkeypatch.setattr(pipeline_run, "_on_ray", lambda options: serial.compute)


@pytest.mark.usefixtures("in_this_process")
def test_a_checkpoint_is_evaluated_with_the_dataset_that_is_named(study, tmp_path):
    checkpoint, output = study.checkpoint_dir("0000-fc-4d"), tmp_path / "output"
    main([str(checkpoint), "--dataset", "digits", "--output", str(output), "--methods", "vae"])
    assert set(read_table(output / "evaluations.parquet")["trial_id"].to_pylist()) == {"0000-fc-4d"}


@pytest.mark.usefixtures("in_this_process")
def test_a_folder_of_checkpoints_is_evaluated_with_the_neighbours_asked_for(study, tmp_path):
    output = tmp_path / "output"
    options = ["--dataset", "digits", "--output", str(output), "--methods", "vae", "--k", "3"]
    assert main([str(study.checkpoints_dir), *options]) == 0
    table = read_table(output / "evaluations.parquet").to_pandas()
    assert set(table["trial_id"]) == {path.name for path in study.checkpoints_dir.iterdir()}
    assert set(table.query("metric == 'knn_accuracy'")["n_neighbors"]) == {3, 10}


@pytest.mark.figures
@pytest.mark.usefixtures("in_this_process")
def test_a_run_under_a_uri_is_evaluated_from_there(s3, study_uri, tmp_path, capsys):
    assert main([study_uri, "--methods", "raw,vae", "--finalists", "1"]) == 0
    output = capsys.readouterr().out
    assert "best 0001-conv-10d" in output
    assert study_uri.replace("/tiny", "/tiny/report.html") in output
    fetched = {path.parent.name for path in (tmp_path / "here").glob("*/tiny/checkpoints/*/*")}
    assert fetched == {"0001-conv-10d"}
    keys = [key.removeprefix(f"{tmp_path.name}/tiny/") for key in s3.keys(f"{tmp_path.name}/tiny")]
    assert {"evaluations.parquet", "predictions.parquet", "evaluation.json", "report.html"} <= set(keys)
    assert "embeddings/dim=10/name=vae-0001-conv-10d-seed0/part-0.parquet" in keys
    assert "figures/accuracy.png" in keys
    assert not [key for key in keys if key.startswith(".") or "/." in key]
    main(["compare", study_uri, study_uri])
    assert "best VAE" in capsys.readouterr().out


def test_what_tools_show_of_a_run_under_a_uri_is_put_into_a_directory_here(
    s3, study_uri, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"tiny\?.* has no embeddings yet; say `python -m evaluation s3://"):
        main(["projector", study_uri])
    monkeypatch.setattr(pipeline_run, "_on_ray", lambda options: serial.compute)
    main([study_uri, "--methods", "pca", "--dims", "2"])
    before = s3.keys()
    capsys.readouterr()
    assert main(["projector", study_uri]) == 0
    assert f"tensorboard --logdir {tmp_path / 'tiny' / 'projector'}" in capsys.readouterr().out
    assert (tmp_path / "tiny" / "projector" / "pca-2d.tsv").is_file()
    assert main(["atlas", study_uri, "--output", "elsewhere"]) == 0
    file = tmp_path / "elsewhere" / "atlas.parquet"
    assert f"embedding-atlas {file} --x pca_x" in capsys.readouterr().out
    assert "pca_y" in pq.read_schema(file).names
    assert s3.keys() == before


@pytest.mark.parametrize("arguments", [["projector", "RUN"], ["RUN/checkpoints", "--dataset", "digits"]])
def test_results_for_this_machine_do_not_go_to_a_uri(study, arguments, capsys):
    words = [argument.replace("RUN", str(study.path)) for argument in arguments]
    with pytest.raises(SystemExit) as caught:
        main([*words, "--output", "s3://bucket/out"])
    assert caught.value.code == 2
    assert "--output: must be a directory of this machine, got 's3://bucket/out'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN/nowhere"], "no run directory at"),
        (["RUN/.."], "is not a run directory: it has no study.json"),
        (["RUN/checkpoints"], "holds checkpoints: name the images with --dataset"),
        (["RUN", "--k", "0,5"], "--k must be numbers >= 1, got 0,5"),
        (["RUN", "--methods", "umpa"], "got 'umpa'; did you mean 'umap'"),
        (["RUN", "--dims", "65", "--methods", "pca"], "dims must be <= 64"),
        (["RUN", "--methods", "ensemble", "--finalists", "1"], "an ensemble needs at least 2 VAEs, got 1"),
        (["RUN", "--finalists", "0"], "finalists must be >= 1, got 0"),
        (["RUN", "--cpus", "0"], "--cpus must be >= 1, got 0"),
        (["RUN", "--dataset", "digits"], "--dataset and --output are for checkpoints"),
        (["RUN/checkpoints/0000-fc-4d"], "is a checkpoint: name the images with --dataset"),
    ],
)
def test_bad_input_is_refused_before_any_work(study, arguments, message):
    before = sorted(study.path.rglob("*"))
    with pytest.raises(UsageError, match=message) as caught:
        main([argument.replace("RUN", str(study.path)) for argument in arguments])
    assert exit_code(caught.value) == 2
    assert sorted(study.path.rglob("*")) == before


def test_unreadable_tables_are_a_failure_of_storage(study):
    study.trials_file.write_bytes(b"junk")
    with pytest.raises(StorageError, match=r"cannot read .*trials.parquet") as caught:
        main([str(study.path)])
    assert exit_code(caught.value) == 1


def test_dimensions_that_are_no_numbers_are_a_usage_error(study, capsys):
    with pytest.raises(SystemExit) as caught:
        main([str(study.path), "--dims", "two"])
    assert caught.value.code == 2
    assert "must be whole numbers between commas, got 'two'" in capsys.readouterr().err


def test_a_mistake_is_one_line_on_stderr_and_no_traceback(study):
    write_table([], TRIALS, study.trials_file)
    command = [sys.executable, "-m", "evaluation", str(study.path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: none of the 0 trials in ")
    assert done.stderr.count("\n") == 1
