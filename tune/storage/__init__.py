"""A study on disk or under a URI: run directory, tables, trial status, locks and leases."""

from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord, StudyStatus
from tune.storage.trial_status import StopReason, TrialCategory, TrialStatus

__all__ = ["RunDirectory", "StopReason", "StudyRecord", "StudyStatus", "TrialCategory", "TrialStatus"]
