"""Bad input at the command line: one line, the right exit code, nothing remains, no Ray process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from tune.__main__ import main
from vae.command_line import run


@pytest.fixture
def complaint(monkeypatch, capsys, tmp_path):
    """Run a search that must fail before Ray starts, and return its exit code and its line."""

    def start(*arguments, **options):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", start)
    monkeypatch.chdir(tmp_path)

    def search(*arguments):
        with pytest.raises(SystemExit) as ended:
            run(lambda _: main(list(arguments)))
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert len(lines) == 1, lines
        return ended.value.code, lines[0]

    return search


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "fminst"], "unknown dataset 'fminst'"),
        (["--objective", "val_knn_acuracy"], "did you mean 'val_knn_accuracy'"),
        (["--objective", "latent_dim"], "the first objective stops and ranks trials and must be measured"),
        (
            ["--objective", "val_loss"],
            "val_loss does not compare trials while reconstruction_loss and kl_weight",
        ),
        (["--trials", "0"], "trials must be a whole number >= 1, got 0"),
        (["--trials", "many"], "trials must be a whole number >= 1, got 'many'"),
        (["--max-epochs", "0"], "max_epochs must be a number > 0, got 0"),
        (["--max-epochs", "8", "--grace-period", "8"], "grace_period must be < max_epochs, got 8 and 8"),
        (["--reduction-factor", "1"], "reduction_factor must be a number > 1, got 1"),
        (
            ["--sampler", "sobol"],
            "the sampler must be one of tpe, random, gp, cmaes, nsga2, grid, got 'sobol'",
        ),
        (
            ["--sampler", "grid"],
            "the sampler 'grid' tries every configuration, but kl_weight is a continuous range; give",
        ),
        (["--patience", "0"], "patience must be a whole number >= 1, got 0"),
        (["--target", "good"], "target must be a number, got 'good'"),
        (
            ["--target", "1.2"],
            "target must be between 0 and 1, the values that val_knn_accuracy can have, got 1.2",
        ),
        (
            ["--target", "-0.1", "--objective", "val_mse"],
            "target must be between 0 and 1, the values that val_mse can have, got -0.1",
        ),
        (["--seed", "-1"], "seed must be a whole number >= 0, got -1"),
        (["--cpus-per-trial", "0"], "cpus_per_trial must be a number > 0, got 0"),
        (["--gpus-per-trial", "-0.5"], "gpus_per_trial must be a number >= 0, got -0.5"),
        (
            ["--time-budget", "soon"],
            "time_budget must be a time such as 90s, 30m or 1h30m, got 'soon'",
        ),
        (["--name", "a/b"], "the name of a run must be a plain directory name, got 'a/b'"),
        (["--name", ".."], "the name of a run must be a plain directory name, got '..'"),
        (["--storage", "ftp://host/runs"], "cannot use 'ftp://host/runs' as storage: Unrecognized"),
        (["--trails", "3"], "--trails"),
    ],
)
def test_a_wrong_argument_is_one_line(complaint, tmp_path, arguments, words):
    code, line = complaint("search", "--dataset", "digits", *arguments)
    assert code == 2
    assert line.startswith("error: ")
    assert words in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "fminst"], "unknown dataset 'fminst'"),
        (["--dataset", "digits", "--price-per-hour", "0"], "price_per_hour must be a number > 0, got 0.0"),
        (["--dataset", "digits", "--trials", "0"], "trials must be a whole number >= 1, got 0"),
    ],
)
def test_a_plan_that_cannot_be_made_is_one_line(complaint, tmp_path, arguments, words):
    code, line = complaint("plan", *arguments)
    assert (code, words in line) == (2, True), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("latent_dims: {int: [2, 8]}", "did you mean 'latent_dim'"),
        ("latent_dim: {int: [8, 2]}", "latent_dim: the range [8, 2] is empty"),
        ("architecture: {choice: [fc, cnn]}", "architecture must be one of"),
        ("reconstruction_loss: {choice: [bce, l2]}", "reconstruction_loss must be one of"),
        ("reconstruction_loss: ssim\nssim_window: 11", "ssim_window must be <= 8"),
        ("latent_dim: {int: [2, 65]}", "latent_dim must be <= 64, the values of one image, got 65"),
        (
            "batch_size: {choice: [64, 65536]}",
            "batch_size must be <= 1198, the number of training images, got 65536; give a --space",
        ),
    ],
)
def test_a_wrong_space_file_is_one_line(complaint, tmp_path, space, words):
    (tmp_path / "mine.yaml").write_text(space)
    code, line = complaint("search", "--dataset", "digits", "--space", "mine.yaml")
    assert (code, words in line) == (2, True), line
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_space_file_that_is_not_there_is_an_input_error(complaint):
    code, line = complaint("search", "--dataset", "digits", "--space", "nowhere.yaml")
    assert (code, "cannot read the space file nowhere.yaml" in line) == (1, True), line


def test_a_run_name_that_exists_is_refused_and_left_as_it_was(complaint, tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    code, line = complaint("search", "--dataset", "digits", "--name", "mine")
    assert (code, "there is a run named 'mine'" in line) == (2, True), line
    assert list((tmp_path / "runs" / "mine").iterdir()) == []


@pytest.mark.parametrize("storage", ["/proc/runs", "file/runs"])
def test_a_storage_that_cannot_be_written_is_an_io_error(complaint, tmp_path, storage):
    (tmp_path / "file").write_text("not a directory")
    code, line = complaint("search", "--dataset", "digits", "--storage", storage)
    assert (code, "cannot create" in line and "choose another --storage" in line) == (1, True), line


def test_labels_that_the_objective_needs_are_missed_before_ray_starts(complaint, tmp_path):
    np.savez(
        tmp_path / "own.npz", images=np.random.default_rng(0).integers(0, 255, (600, 12, 12), dtype=np.uint8)
    )
    code, line = complaint("search", "--dataset", "own.npz", "--objective", "val_knn_accuracy")
    assert (code, "val_knn_accuracy needs labels" in line) == (2, True), line


def test_a_broken_image_in_a_parquet_file_is_an_io_error(complaint, tmp_path):
    pq.write_table(pa.table({"image": [b"no image"] * 20}), tmp_path / "own.parquet")
    code, line = complaint("search", "--dataset", "own.parquet")
    assert (code, "cannot read row 0 of column 'image' of own.parquet" in line) == (1, True), line
    assert [path.name for path in tmp_path.iterdir()] == ["own.parquet"]


def test_a_corrupted_data_file_is_an_io_error(complaint, tmp_path):
    (tmp_path / "own.npz").write_bytes(b"PK\x03\x04 and then nothing")
    code, line = complaint("search", "--dataset", "own.npz")
    assert (code, "own.npz" in line) == (1, True), line
    assert [path.name for path in tmp_path.iterdir()] == ["own.npz"]


def test_a_directory_made_for_a_search_that_could_not_start_is_removed(tmp_path, capsys):
    storage, nobody = tmp_path / "deep" / "runs", "127.0.0.1:1"
    with pytest.raises(SystemExit) as ended:
        run(lambda _: main(["search", "--dataset", "digits", "--storage", str(storage), "--address", nobody]))
    assert ended.value.code == 2
    assert f"no Ray cluster answers at '{nobody}'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "words"),
    [("nowhere", "no run directory at nowhere"), (".", "is not a run directory, and no folder in it is one")],
)
def test_the_status_of_what_is_no_run_is_one_line(complaint, path, words):
    code, line = complaint("status", path)
    assert (code, words in line) == (2, True), line


def test_a_process_of_its_own_answers_in_the_same_way(tmp_path):
    source = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tune", "search", "--trials", "0"],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: trials must be")
    assert len(done.stderr.splitlines()) == 1
