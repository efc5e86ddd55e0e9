import pytest

from tune.storage.trial_status import Fate, fate, fate_text


@pytest.mark.parametrize(
    ("status", "reason", "kind", "text"),
    [
        ("completed", None, Fate.COMPLETED, "completed"),
        ("stopped_early", "rung", Fate.STOPPED, "stopped at a rung"),
        ("stopped_early", "time_budget", Fate.CUT_SHORT, "cut short: time was up"),
        ("stopped_early", "interrupted", Fate.CUT_SHORT, "interrupted"),
        ("failed", "nan", Fate.FAILED, "failed: nan"),
        ("failed", "oom", Fate.FAILED, "failed: out of memory"),
        ("failed", "collapsed", Fate.FAILED, "failed: collapsed"),
        ("running", None, Fate.OPEN, "running"),
        ("pending", None, Fate.OPEN, "pending"),
    ],
)
def test_every_status_and_reason_has_a_fate(status, reason, kind, text):
    trial = {"status": status, "stop_reason": reason}
    assert (fate(trial), fate_text(trial)) == (kind, text)
