import pytest

from vae.training.schedules import kl_warmup_factor, learning_rate_factor


@pytest.mark.parametrize(
    ("schedule", "progress", "milestones", "expected"),
    [
        ("constant", 0.7, (), 1),
        ("milestones", 0.24, (0.25, 0.5), 1),
        ("milestones", 0.25, (0.25, 0.5), 0.1),
        ("milestones", 0.9, (0.25, 0.5), 0.01),
        ("cosine", 0.0, (), 1),
        ("cosine", 0.5, (), 0.5),
        ("cosine", 1.0, (), 0),
        ("one_cycle", 0.0, (), 0.04),
        ("one_cycle", 0.15, (), 0.52),
        ("one_cycle", 0.3, (), 1),
        ("one_cycle", 0.65, (), 0.5),
        ("one_cycle", 1.0, (), 0),
    ],
)
def test_the_learning_rate_follows_its_schedule(schedule, progress, milestones, expected):
    assert learning_rate_factor(schedule, progress, milestones) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("epochs_done", "warmup", "expected"), [(0, 0, 1), (0, 4, 0), (1, 4, 0.25), (4, 4, 1), (9, 4, 1)]
)
def test_the_kl_weight_rises_linearly(epochs_done, warmup, expected):
    assert kl_warmup_factor(epochs_done, warmup) == expected
