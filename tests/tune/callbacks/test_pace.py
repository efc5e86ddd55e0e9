"""How long a search still takes: cases by hand, and a search that is simulated to its end."""

import heapq
import random
from datetime import UTC, datetime, timedelta

import pytest

from tune.callbacks.pace import Pace


def row(status, images, train_seconds=0.0, **more):
    return {"status": status, "images": images, "train_seconds": train_seconds} | more


def test_a_trial_that_runs_takes_what_its_epochs_took():
    # Nothing has ended: it trains the other 2 epochs at 2 s, and the one to come 4.
    pace = Pace.estimate([row("running", 2, 4.0)], n_trials=2, reports=range(1, 5), elapsed_s=5.0)
    assert pace.images_per_s == pytest.approx(0.4)
    assert pace.remaining_s == pytest.approx(2 * 2.0 + 4 * 2.0)


def test_trials_take_the_first_slot_that_is_free():
    # 4 epochs in 8 s on one, 12 s and then 16 s on the other; with three, none waits.
    rows = [row("running", 4, 8.0), row("running", 2, 4.0)]
    for slots, seconds in ((2, 8.0 + 16.0), (3, 16.0)):
        pace = Pace.estimate(rows, n_trials=3, reports=range(1, 9), elapsed_s=9.0, slots=slots)
        assert pace.remaining_s == pytest.approx(seconds)


def test_the_last_trial_is_waited_for_although_the_others_were_fast():
    rows = [*[row("completed", 8, 8.0)] * 4, row("running", 4, 40.0)]
    pace = Pace.estimate(rows, n_trials=5, reports=range(1, 9), elapsed_s=60.0, slots=2)
    assert pace.remaining_s == pytest.approx(40.0)


def test_trials_to_come_end_where_those_before_them_did():
    # Three of four ended after an epoch: 1.75 epochs each on average.
    rows = [*[row("stopped_early", 1, 1.0)] * 3, row("completed", 4, 4.0)]
    pace = Pace.estimate(rows, n_trials=404, reports=range(1, 5), elapsed_s=7.0)
    assert pace.remaining_s == pytest.approx(400 * 1.75, rel=0.05)


def test_a_trial_that_has_passed_a_rung_is_not_expected_to_end_there():
    rows = [*[row("stopped_early", 1, 1.0)] * 3, row("running", 1, 1.0)]
    pace = Pace.estimate(rows, n_trials=4, reports=range(1, 5), elapsed_s=4.0)
    assert pace.remaining_s == pytest.approx(3.0)


def test_what_a_trial_takes_beside_its_epochs_counts_for_those_to_come():
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    ended = {"started_at": begin, "finished_at": begin + timedelta(seconds=9)}
    rows = [row("completed", 4, 4.0, **ended)]
    pace = Pace.estimate(rows, n_trials=3, reports=range(1, 5), elapsed_s=10.0)
    assert pace.remaining_s == pytest.approx(2 * (4.0 + 5.0))


def test_the_epochs_of_an_earlier_session_do_not_count_as_pace():
    rows = [row("completed", 4, 4.0), row("running", 3, 3.0), row("pending", 1, 1.0)]
    pace = Pace.estimate(rows, n_trials=4, reports=range(1, 5), elapsed_s=10.0, images_before=6)
    assert pace.images_per_s == pytest.approx(0.2)
    assert pace.remaining_s == pytest.approx(1 + 3 + 4)


def test_nothing_is_promised_before_the_first_epoch():
    pace = Pace.estimate(
        [row("pending", 0), row("running", 0)], n_trials=4, reports=range(1, 5), elapsed_s=9.0
    )
    assert pace.remaining_s is None
    assert str(pace) == "0 images/s · 0:09"


def test_when_all_trials_have_ended_no_time_is_left():
    pace = Pace.estimate([row("completed", 4, 4.0)] * 2, n_trials=2, reports=range(1, 5), elapsed_s=8.0)
    assert str(pace) == "1 images/s · 0:08"


def test_hours_are_shown_as_hours():
    assert str(Pace(3725.0, 1.0, 61.0)) == "1 images/s · 1:02:05 · about 1:01 left"


@pytest.mark.parametrize("moment", [0.2, 0.5, 0.8])
def test_the_estimate_of_a_search_with_stopped_trials_is_close(moment):
    """Twenty searches of forty trials on two slots, of which most are stopped at epochs 2 and 4 of 8."""
    errors = []
    for seed in range(20):
        draw = random.Random(seed)
        trials, free_at = [], [0.0, 0.0]
        for _ in range(40):
            begin = heapq.heappop(free_at)
            cost, end = draw.choice([1.0, 2.0, 4.0]), draw.choice([2, 2, 2, 2, 4, 8])
            trials.append((begin, cost, end))
            heapq.heappush(free_at, begin + cost * end)
        whole = max(free_at)
        now, rows = moment * whole, []
        for begin, cost, end in trials:
            if begin <= now:
                epochs = min(end, int((now - begin) / cost))
                status = "running" if epochs < end else "completed" if end == 8 else "stopped_early"
                rows.append(row(status, epochs, cost * epochs))
        left = Pace.estimate(rows, n_trials=40, reports=range(1, 9), elapsed_s=now, slots=2).remaining_s
        errors.append((left - (whole - now)) / whole)
    assert abs(sum(errors) / len(errors)) < 0.06
