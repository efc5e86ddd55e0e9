"""`tune status`: what the files say, once and until the study ends."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from tune.status import StudyView, watch_status
from tune.storage.lock import driver_lock
from tune.storage.study_record import StudyStatus
from tune.storage.tables import TRIALS, read_table, write_table


def change(run, state, **row):
    replace(run.read_study(), status=StudyStatus(state)).write(run.study_file)
    rows = read_table(run.trials_file).to_pylist()
    rows[0] |= row
    write_table(rows, TRIALS, run.trials_file)


def console(**options):
    return Console(file=io.StringIO(), width=140, **options)


class Steps:
    """Stands for `sleep`: each call changes the study."""

    def __init__(self, *steps):
        self.steps = list(steps)

    def __call__(self, seconds):
        self.steps.pop(0)()


def test_the_watch_prints_each_change_and_the_table_at_the_end(study):
    change(study, "running", status="running", epochs=1)
    steps = Steps(
        lambda: change(study, "running", epochs=2),  # the same counts
        lambda: change(study, "running", status="completed"),
        lambda: change(study, "completed"),
    )
    out = console()
    with driver_lock(study):
        watch_status(lambda: StudyView.read(study), out, sleep=steps)
    assert not steps.steps
    lines = out.file.getvalue().splitlines()
    assert [line.split(":")[1].split(",")[0] for line in lines if line.startswith("tiny: ")] == [
        " running", " running", " completed"
    ]  # fmt: skip
    assert sum("0001-conv-10d" in line for line in lines[3:]) == 1


def test_the_watch_of_a_killed_study_ends_at_once(study):
    change(study, "running")
    out = console()
    watch_status(lambda: StudyView.read(study), out, sleep=lambda seconds: pytest.fail("waited"))
    assert "killed" in out.file.getvalue()


def test_on_a_terminal_the_running_trials_are_shown_however_many_are_better(study):
    change(study, "running", status="running", objective=0.01)
    out = console(force_terminal=True, height=6, legacy_windows=False)
    steps = Steps(lambda: change(study, "completed"))
    with driver_lock(study):
        watch_status(lambda: StudyView.read(study), out, sleep=steps)
    live = out.file.getvalue().split("tiny: completed")[0]
    assert "0000-fc-4d" in live
    assert "0001-conv-10d" in live  # the best
    assert "0004-fc-2d" not in live


def test_once_the_table_has_every_trial_those_with_the_full_budget_first(study):
    out = console()
    out.print(StudyView.read(study).view(out))
    ids = [word for word in out.file.getvalue().split() if word.startswith("000")]
    assert ids == ["0001-conv-10d", "0000-fc-4d", "0004-fc-2d", "0002-fc-3d", "0003-fc-3d"]
