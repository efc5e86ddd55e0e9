"""`tune status` of a folder: a line for each study, whatever else lies there."""

import io
import shutil
from dataclasses import replace

import pytest
from rich.console import Console

from evaluation.analysis.results import Results
from tests.tune.test_status import Steps, change, console
from tune.__main__ import main
from tune.overview import StudyFolder
from tune.space.display import percent
from tune.status import watch_status
from tune.storage.lock import driver_lock
from tune.storage.run_directory import RunDirectory


def overview(folder, test_accuracy=lambda run: None):
    return StudyFolder(RunDirectory.resolve(folder), test_accuracy).read()


def copy_of(study, name):
    return RunDirectory(shutil.copytree(study.path, study.path.with_name(name)))


def finished(run, when):
    replace(run.read_study(), finished_at=f"{when}T00:00:00+00:00").write(run.study_file)


def printed(view, width):
    out = Console(file=io.StringIO(), width=width)
    out.print(view.view(out))
    return out.file.getvalue().splitlines()


def test_each_study_has_a_line_and_the_newest_is_the_first(study):
    for name, day in {"old": "2026-01-05", "new": "2026-03-05", "middle": "2026-02-05"}.items():
        finished(copy_of(study, name), day)
    found = overview(study.path.parent, lambda run: {"new": 0.8771}.get(run.path.name))
    assert [line.name for line in found.lines] == ["new", "middle", "old", "tiny"]
    first = found.lines[0]
    assert (first.dataset, first.state, first.trials) == ("digits", "completed", "5/5")
    assert (first.validation, first.test) == ("95.0 %", "87.7 %")  # not 97, of the trial that was stopped
    assert found.lines[1].test == "–"


def test_another_objective_is_named(study):
    replace(study.read_study(), objectives=["val_ssim"]).write(study.study_file)
    assert overview(study.path.parent).lines[0].validation == "SSIM 0.95"


def test_a_study_without_a_driver_was_killed(study):
    change(study, "running", status="running")
    assert overview(study.path.parent).lines[0].state == "killed"
    with driver_lock(study):
        found = overview(study.path.parent)
    assert (found.lines[0].state, found.lines[0].trials, found.is_running) == ("running", "4/5", True)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("study.json", b"{"),
        ("study.json", b'{"name": "x", "finished_at": "soon", "status": "completed"}'),
        ("trials.parquet", b"PAR1"),
    ],
)
def test_what_is_damaged_or_foreign_is_one_line_below_the_others(study, file, content):
    (copy_of(study, "damaged").path / file).write_bytes(content)
    (study.path.parent / "photos").mkdir()
    (study.path.parent / "notes.txt").touch()
    lines = printed(overview(study.path.parent), width=80)
    assert [line.split()[0] for line in lines] == ["study", "tiny", "damaged:", "no"]
    assert lines[-1] == "no study: photos"


def test_a_narrow_terminal_shortens_names_and_no_numbers(study):
    copy_of(study, "a-study-with-a-name-that-is-much-too-long-for-it")
    lines = printed(overview(study.path.parent), width=70)
    assert len(lines) == 3
    assert max(map(len, lines)) <= 70
    assert all("95.0 %" in line and "5/5" in line and "ago" in line for line in lines[1:])


def test_the_watch_ends_when_none_runs(study):
    change(study, "running", status="running")
    steps = Steps(lambda: change(study, "running", status="completed"), lambda: change(study, "completed"))
    folder, out = StudyFolder(RunDirectory(study.path.parent), lambda run: None), console()
    with driver_lock(study):
        watch_status(folder.read, out, sleep=steps)
    lines = out.file.getvalue().splitlines()
    assert [line.rpartition(" ")[2] for line in lines[:2]] == ["4/5", "5/5"]
    assert "completed" in lines[-1]


def test_the_studies_of_a_bucket_are_listed_without_their_large_files(study_uri, s3):
    paths = []
    s3.fault = lambda method, path, query: paths.append(path)
    found = overview(study_uri.replace("/tiny", ""))
    assert [(line.name, line.state, line.trials) for line in found.lines] == [("tiny", "completed", "5/5")]
    assert any(path.endswith("trials.parquet") for path in paths)
    assert not any(path.endswith("epochs.parquet") for path in paths)


def test_the_command_takes_a_folder_and_shows_the_accuracy_on_the_test_set(old_run, capsys):
    run = old_run("finished")
    assert main(["status", str(run.path.parent)]) == 0
    best = Results.read(run).comparison.winner
    assert f"  {percent(best.test)}  " in capsys.readouterr().out.splitlines()[1]
