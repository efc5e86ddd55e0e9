"""Searches whose run directory lies under a URI: killed, throttled, cut off, and gone on with elsewhere."""

import itertools

import pytest
import yaml

from tests.processes import start_tune, wait_for
from tests.s3_server import BUCKET, EXPIRED, INTERNAL_ERROR, SILENCE, SLOW_DOWN
from tests.soak import soak_round
from tests.tune.conftest import SMALL_SPACE, open_journal
from tune.__main__ import main as tune_main
from tune.storage.lock import driver_lock, is_held
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table
from vae.command_line import exit_code
from vae.errors import StorageError, UsageError

N_TRIALS, MAX_EPOCHS = 2, 8


def search(directory, storage, **environment):
    (directory / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE, sort_keys=False))
    options = {
        "--dataset": "digits",
        "--space": "space.yaml",
        "--name": "run",
        "--storage": storage,
        "--trials": N_TRIALS,
        "--max-epochs": MAX_EPOCHS,
        "--scheduler": "none",
        "--max-concurrent": 1,
    }
    words = ["search", *(str(word) for pair in options.items() for word in pair), "--no-evaluate"]
    return start_tune(*words, cwd=directory, **environment)


@pytest.mark.ray
@pytest.mark.slow
def test_a_kill_and_a_throttled_storage_lose_and_double_nothing(s3, tmp_path):
    counter = itertools.count(1)

    def now_and_then(method, path, query):
        number = next(counter)
        if number % 199 == 0:
            return SILENCE
        return SLOW_DOWN if number % 7 == 0 else INTERNAL_ERROR if number % 11 == 0 else None

    s3.fault = now_and_then
    (kill,) = soak_round(tmp_path, seed=221, n_kills=1, n_trials=6, storage=s3.uri(tmp_path.name))
    assert kill.victim == "worker"  # and then the driver
    assert next(counter) > 500


@pytest.mark.ray
@pytest.mark.slow
def test_a_search_that_loses_its_storage_ends_with_one_line_and_goes_on_when_it_is_back(
    s3, tmp_path, ray_cluster
):
    uri = s3.uri(f"{tmp_path.name}/run")
    process = search(tmp_path, s3.uri(tmp_path.name))
    wait_for(lambda: any("checkpoint_00000" in key for key in s3.keys(f"{tmp_path.name}/run/ray")), process)
    run = RunDirectory.open(uri)
    with (
        pytest.raises(UsageError, match=rf"at work on s3://.*/run\?.* \(process {process.pid} on "),
        driver_lock(run),
    ):
        pass
    assert is_held(run)
    s3.fault = lambda method, path, query: EXPIRED
    out, err = process.communicate(timeout=240)
    assert process.returncode == 1, f"{out}\n{err}"
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert line.startswith("error: cannot ")
    assert "ExpiredToken" in line
    assert "Traceback" not in err, err
    assert f"what could not be sent to {uri} is in " in err

    s3.serve()
    assert tune_main(["resume", uri]) == 0
    run = RunDirectory.open(uri)
    trials = read_table(run.trials_file).to_pylist()
    assert [row["status"] for row in trials] == ["completed"] * N_TRIALS
    epochs = [(row["trial_id"], row["epoch"]) for row in read_table(run.epochs_file).to_pylist()]
    expected = {(row["trial_id"], epoch) for row in trials for epoch in range(1, MAX_EPOCHS + 1)}
    assert sorted(epochs) == sorted(expected)
    assert [trial.state.name for trial in open_journal(run.path).trials] == ["COMPLETE"] * N_TRIALS
    assert not is_held(run)


def test_the_status_of_a_study_under_a_uri_takes_its_tables_alone(study_uri, tmp_path, capsys):
    tune_main(["status", study_uri])
    assert "tiny: completed, 3 completed, 1 stopped early, 1 failed of 5" in capsys.readouterr().out
    assert not list((tmp_path / "here").glob("*/tiny/checkpoints"))


def test_nothing_under_a_uri_cannot_be_resumed(study_uri):
    with pytest.raises(UsageError, match="no run directory at s3://bucket/.*/none"):
        tune_main(["resume", study_uri.replace("tiny", "none")])


def test_a_bucket_that_is_not_there_ends_a_search_before_it_begins(s3):
    nowhere = s3.uri("x").replace(BUCKET, "nobucket")
    with pytest.raises(StorageError, match=r"^cannot write s3://nobucket/x.*NO_SUCH_BUCKET") as error:
        tune_main(["search", "--dataset", "digits", "--storage", nowhere])
    assert exit_code(error.value) == 1
