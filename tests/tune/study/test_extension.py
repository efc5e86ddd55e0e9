"""What an extension changes, by a finished study's files."""

import pytest

from tests.tune.conftest import KNN, PARAMS, budget_of, epoch_result
from tune.algorithms.outcome import Outcome
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord, StudyStatus
from tune.study.extension import n_trials, plan_extension
from tune.study.study_tables import StudyTables
from vae.errors import UsageError


@pytest.fixture
def study(tmp_path):
    """Return a directory with two completed trials, and the record of a study that was asked for ten."""
    run = RunDirectory(tmp_path)
    tables = StudyTables(run, [KNN], budget=budget_of(3))
    for number, value in enumerate([0.7, 0.9]):
        trial_id = f"000{number}-fc-4d"
        tables.open(trial_id, number, PARAMS)
        tables.record_report(trial_id, epoch_result(3, value))
        tables.end(trial_id, Outcome("completed"))
    tables.write()

    def record(status=StudyStatus.PLATEAU, **arguments):
        asked = {"trials": 10, "max_epochs": 3, **arguments}
        return StudyRecord(name="run", status=status, arguments=asked, end_reason="why not")

    return run, record


def test_trials_are_added_to_those_that_were_tried(study):
    run, record = study
    assert plan_extension(run, record(), trials=5)["trials"] == 7
    assert plan_extension(run, record(), max_epochs=9)["trials"] == n_trials(run, record()) == 2
    whole = record(StudyStatus.COMPLETED)
    whole.end_reason = None
    assert plan_extension(run, whole, trials=5)["trials"] == 15


def test_the_patience_stays_unless_another_is_given(study):
    run, record = study
    assert "patience" not in plan_extension(run, record(patience=4), trials=5, patience=None)
    assert plan_extension(run, record(patience=4), trials=5, patience=6)["patience"] == 6


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [(None, None, None), (0.8, None, None), (0.95, None, 0.95), (0.8, 0.97, 0.97)],
)
def test_a_target_that_is_reached_is_dropped(study, before, given, after):
    run, record = study
    assert plan_extension(run, record(target=before), trials=5, target=given)["target"] == after


def test_a_new_target_that_is_reached_is_refused(study):
    run, record = study
    with pytest.raises(UsageError, match=r"target 0.85 is reached already: 0001-fc-4d has .* 0.9000; give a"):
        plan_extension(run, record(), trials=5, target=0.85)


def test_what_is_not_finished_is_not_extended(study):
    run, record = study
    with pytest.raises(UsageError, match="is not finished; continue it with"):
        plan_extension(run, record(StudyStatus.INTERRUPTED), trials=5)
