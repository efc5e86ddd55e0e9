import json

import pytest

from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord
from vae.errors import StorageError, UsageError


def test_a_run_directory_is_absolute_wherever_the_process_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RunDirectory("runs/a").trials_file == tmp_path / "runs/a/trials.parquet"


def test_nothing_there_is_said_with_the_way_out(tmp_path):
    with pytest.raises(UsageError, match="no run directory at .*nowhere; `python -m tune search` makes one"):
        RunDirectory.open(tmp_path / "nowhere")


def test_any_other_directory_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"is not a run directory: it has no study.json"):
        RunDirectory.open(tmp_path)


@pytest.mark.parametrize("content", ['{"name": ', "[1]", b"\xff\xfe"])
def test_a_damaged_study_file_is_one_clear_error(tmp_path, content):
    run = RunDirectory(tmp_path)
    run.study_file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StorageError, match=r"cannot read .*study.json"):
        run.read_study()


@pytest.mark.parametrize("trial_id", ["", "..", "../../elsewhere", "/elsewhere", "a/b"])
def test_an_id_that_leads_elsewhere_names_no_checkpoint(tmp_path, trial_id):
    with pytest.raises(StorageError, match=f"must be the name of a directory, got '{trial_id}'"):
        RunDirectory(tmp_path).checkpoint_dir(trial_id)


def test_the_study_is_what_the_file_says(tmp_path):
    run = RunDirectory(tmp_path)
    run.study_file.write_text(json.dumps({"name": "a"}))
    assert RunDirectory.open(tmp_path).read_study() == StudyRecord(name="a")
