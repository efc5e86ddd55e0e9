"""Searches whose run directory lies under a URI: killed, throttled, cut off, and gone on with elsewhere."""

import itertools

import pytest
import yaml

from evaluation.run_directory import RunDirectory
from evaluation.tables import read_table
from tests.processes import start_tune, wait_for
from tests.s3_server import ACCESS_DENIED, INTERNAL_ERROR, SLOW_DOWN
from tests.soak import soak_round
from tests.tune.conftest import SMALL_SPACE, open_journal

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def tune(cwd, *arguments, expect=0):
    process = start_tune(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=300)
    assert process.returncode == expect, (out, err)
    assert "Traceback" not in err, err
    return out, err


def start_search(directory, storage, *arguments):
    (directory / "space.yaml").write_text(yaml.safe_dump(SMALL_SPACE, sort_keys=False))
    search = ("search", "--dataset", "digits", "--space", "space.yaml", "--name", "run", "--storage", storage)
    return start_tune(*search, *arguments, cwd=directory)


def test_a_kill_and_a_throttled_storage_lose_and_double_nothing(s3, tmp_path):
    counter = itertools.count(1)

    def now_and_then(method, path, query):
        number = next(counter)
        return SLOW_DOWN if number % 7 == 0 else INTERNAL_ERROR if number % 11 == 0 else None

    s3.fault = now_and_then
    soak_round(tmp_path, 200, n_kills=1, storage=s3.uri(tmp_path.name))
    assert next(counter) > 200


def test_a_search_that_loses_its_storage_ends_with_one_line_and_goes_on_when_it_is_back(s3, tmp_path):
    storage = s3.uri(tmp_path.name)
    uri = s3.uri(f"{tmp_path.name}/run")
    process = start_search(
        tmp_path, storage, "--trials", "4", "--max-epochs", "40", "--grace-period", "39", "--no-evaluate"
    )
    wait_for(lambda: any("checkpoint_000003" in key for key in s3.keys(tmp_path.name)), process)
    _, err = tune(tmp_path, "resume", uri, expect=2)
    assert f"another process is at work on {uri} (process {process.pid} on " in err
    s3.fault = lambda method, path, query: ACCESS_DENIED if method in ("PUT", "POST") else None
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, (out, err)
    assert err.count("error: cannot write s3://") == 1
    assert "Traceback" not in err, err
    assert "what could not be sent to" in err
    s3.serve()
    out, _ = tune(tmp_path, "status", uri)
    assert "killed" in out or "running" in out

    process = start_tune("resume", uri, "--no-dashboard", cwd=tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, (out, err)
    run = RunDirectory.open(uri)
    trials = read_table(run.trials_file).to_pylist()
    assert [row["status"] for row in trials] == ["completed"] * 4
    epochs = [(row["trial_id"], row["epoch"]) for row in read_table(run.epochs_file).to_pylist()]
    assert sorted(epochs) == sorted({(row["trial_id"], n) for row in trials for n in range(1, 41)})
    assert [trial.state.name for trial in open_journal(run.path).trials] == ["COMPLETE"] * 4


def test_a_study_under_a_uri_is_searched_evaluated_extended_and_compared(s3, tmp_path, capsys):
    pass
