import pytest

from tune.storage.trial_status import TrialCategory, category, category_text


@pytest.mark.parametrize(
    ("status", "reason", "kind", "text"),
    [
        ("completed", None, TrialCategory.COMPLETED, "completed"),
        ("stopped_early", "rung", TrialCategory.STOPPED, "stopped at a rung"),
        ("stopped_early", "time_budget", TrialCategory.CUT_SHORT, "cut short: time budget spent"),
        ("stopped_early", "interrupted", TrialCategory.CUT_SHORT, "interrupted"),
        ("failed", "nan", TrialCategory.FAILED, "failed: NaN loss"),
        ("failed", "oom", TrialCategory.FAILED, "failed: out of memory"),
        ("failed", "collapsed", TrialCategory.FAILED, "failed: posterior collapse"),
        ("running", None, TrialCategory.OPEN, "running"),
        ("pending", None, TrialCategory.OPEN, "pending"),
    ],
)
def test_every_status_and_reason_has_a_category(status, reason, kind, text):
    trial = {"status": status, "stop_reason": reason}
    assert (category(trial), category_text(trial)) == (kind, text)
