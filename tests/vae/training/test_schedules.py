import pytest

from vae.training.schedules import kl_warmup_factor, learning_rate_factor


@pytest.mark.parametrize(
    ("schedule", "epochs_done", "milestones", "expected"),
    [
        ("constant", 14, (), 1),
        ("milestones", 4.9, (5, 10), 1),
        ("milestones", 5, (5, 10), 0.1),
        ("milestones", 18, (5, 10), 0.01),
        ("cosine", 0, (), 1),
        ("cosine", 10, (), 0.5),
        ("cosine", 20, (), 0),
        ("one_cycle", 0, (), 0.04),
        ("one_cycle", 3, (), 0.52),
        ("one_cycle", 6, (), 1),
        ("one_cycle", 13, (), 0.5),
        ("one_cycle", 20, (), 0),
    ],
)
def test_the_learning_rate_follows_its_schedule(schedule, epochs_done, milestones, expected):
    factor = learning_rate_factor(schedule, epochs_done, (20,), milestones)
    assert factor == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_a_schedule_starts_anew_where_it_has_ended_and_stays_at_its_final_value_after_the_last_end(schedule):
    factors = [learning_rate_factor(schedule, epoch, (8, 24)) for epoch in range(24)]
    assert factors[:8] == [learning_rate_factor(schedule, epoch, (8,)) for epoch in range(8)]
    assert factors[8:] == [learning_rate_factor(schedule, epoch, (16,)) for epoch in range(16)]
    assert {learning_rate_factor(schedule, epochs, (8, 24)) for epochs in (24, 24.5, 90)} == {0}


@pytest.mark.parametrize(
    ("epochs_done", "warmup", "expected"), [(0, 0, 1), (0, 4, 0), (1, 4, 0.25), (4, 4, 1), (9, 4, 1)]
)
def test_the_kl_weight_rises_linearly(epochs_done, warmup, expected):
    assert kl_warmup_factor(epochs_done, warmup) == expected
