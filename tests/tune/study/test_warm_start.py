import pytest

from tune.space.file import parse_space
from tune.study.warm_start import warm_start
from vae.errors import UsageError

SPACE = {
    "architecture": {"choice": ["fc", "conv"]},
    "latent_dim": {"choice": [4, 10]},
    "width": 0.25,
    "reconstruction_loss": {"choice": ["bce", "mse"]},
    "start": [{"architecture": "fc", "latent_dim": 10}],
}


def test_the_best_completed_trials_that_fit_come_first(study):
    space = warm_start(parse_space(SPACE), study)
    assert [(p["architecture"], p["latent_dim"]) for p in space.start] == [
        ("conv", 10),
        ("fc", 4),
        ("fc", 10),
    ]


def test_the_record_of_the_space_holds_them_too(study):
    space = warm_start(parse_space(SPACE), study)
    assert parse_space(space.source).start == space.start


def test_a_study_of_which_nothing_fits_is_refused(study):
    with pytest.raises(UsageError, match="^none of the 3 completed trials of .* lies in this search space"):
        warm_start(parse_space(SPACE | {"width": 0.5, "start": []}), study)
