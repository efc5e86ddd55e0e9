"""study.json: keys and values as always, older files, and files that are no study's."""

import json

import pytest

from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import DatasetRecord, StudyRecord, StudyStatus
from vae.errors import StorageError

WRITTEN_AT_FIRST = {
    "name": "tiny",
    "status": "completed",
    "created_at": "2026-01-02T03:04:05+00:00",
    "finished_at": "2026-01-02T03:05:05+00:00",
    "arguments": {"trials": 5, "dataset": "digits", "seed": 1, "max_epochs": 4, "finalists": 2},
    "dataset": {
        "name": "digits",
        "path": "digits",
        "data_dir": None,
        "fingerprint": "0011",
        "n_test": 360,
    },
    "seed": 1,
    "objective": ["val_loss", "val_ssim"],
    "mode": "min",
    "modes": ["min", "max"],
    "max_epochs": 4,
    "space": {"architecture": "fc"},
    "finalists": 2,
    "knn_references": 1000,
    "code": {"sha": None, "dirty": None},
    "versions": {"python": "3.11"},
    "hardware": {"cpus": 2},
    "timings": {"search_s": 60.0},
    "sessions": [{"pid": 1, "status": "completed"}],
    "resources": {"slots": 2},
    "profile": {"gpus_per_trial": 0.25},
}


def write(tmp_path, content) -> RunDirectory:
    run = RunDirectory(tmp_path)
    run.study_file.write_text(json.dumps(content))
    return run


def test_a_file_that_is_read_and_written_keeps_its_keys_and_values(tmp_path):
    run = write(tmp_path, WRITTEN_AT_FIRST)
    run.read_study().write(run.study_file)
    assert json.loads(run.study_file.read_text()) == WRITTEN_AT_FIRST


def test_what_was_never_measured_is_no_key_of_the_file(tmp_path):
    later = ("sessions", "resources", "profile")
    content = {key: value for key, value in WRITTEN_AT_FIRST.items() if key not in later}
    run = write(tmp_path, content)
    run.read_study().write(run.study_file)
    assert json.loads(run.study_file.read_text()) == content


def test_keys_of_another_version_are_kept(tmp_path):
    run = write(tmp_path, WRITTEN_AT_FIRST | {"owner": "me"})
    run.read_study().write(run.study_file)
    assert json.loads(run.study_file.read_text())["owner"] == "me"


def test_an_argument_that_changes_is_written_at_both_of_its_places(tmp_path):
    record = write(tmp_path, WRITTEN_AT_FIRST).read_study()
    record.arguments |= {"max_epochs": 8, "finalists": 5}
    content = record.to_json()
    assert (record.max_epochs, record.finalists) == (8, 5)
    assert (content["max_epochs"], content["finalists"]) == (8, 5)


def test_an_older_file_says_the_mode_of_its_only_objective_alone():
    old = {"name": "a", "mode": "min", "objective": ["val_loss"], "seed": 7, "max_epochs": 4, "finalists": 2}
    record = StudyRecord.from_json(old)
    assert (record.mode, record.modes, record.objectives) == ("min", ["min"], ["val_loss"])
    assert (record.seed, record.max_epochs, record.finalists) == (7, 4, 2)
    assert record.dataset == DatasetRecord()


def test_the_status_is_one_of_those_known():
    assert StudyRecord.from_json(WRITTEN_AT_FIRST).status is StudyStatus.COMPLETED


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1], "it holds no JSON object"),
        ({"trials": 3}, "it does not name a study"),
        ({"name": 3}, "name is 3"),
        ({"name": "a", "status": "asleep"}, "'asleep' is not a valid StudyStatus"),
        ({"name": "a", "dataset": "digits"}, "dataset is 'digits'"),
        ({"name": "a", "dataset": {"path": 1}}, "path is 1"),
        ({"name": "a", "sessions": {}}, "sessions is {}"),
        ({"name": "a", "arguments": [1]}, "arguments is"),
        ({"name": "a", "objective": []}, "it names no objective"),
    ],
)
def test_a_file_of_something_else_is_one_clear_error(tmp_path, content, reason):
    with pytest.raises(StorageError, match=f"cannot read .*study.json: {reason}") as caught:
        write(tmp_path, content).read_study()
    assert "\n" not in str(caught.value)


def test_a_file_without_the_full_budget_is_one_clear_error(tmp_path):
    with pytest.raises(StorageError, match="study.json of a does not say 'max_epochs'"):
        _ = StudyRecord(name="a").max_epochs
