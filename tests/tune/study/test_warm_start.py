import pytest

from tests.tune.study.test_ranking import begin_extension
from tune.space.file import parse_space
from tune.storage.tables import TRIALS, read_table, write_table
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


def test_how_many_are_from_the_other_study_is_known(study):
    assert warm_start(parse_space(SPACE), study).n_warm == 2


def test_a_study_that_was_begun_to_be_extended_is_one_too(study):
    before = warm_start(parse_space(SPACE), study).start
    begin_extension(study, 300)
    assert warm_start(parse_space(SPACE), study).start == before


def test_the_record_of_the_space_holds_them_too(study):
    space = warm_start(parse_space(SPACE), study)
    assert parse_space(space.source).start == space.start


def test_a_study_of_which_nothing_fits_is_refused(study):
    with pytest.raises(UsageError, match="^none of the 3 completed trials of .* lies in this search space"):
        warm_start(parse_space(SPACE | {"width": 0.5, "start": []}), study)


def test_a_value_that_had_no_part_in_a_trial_does_not_keep_it_out(study):
    conditional = SPACE | {
        "free_bits": {"float": [0.01, 1.0], "when": {"reconstruction_loss": "bce"}},
        "learned_variance": {"choice": [True, False], "when": {"reconstruction_loss": "mse"}},
    }
    rows = read_table(study.trials_file).to_pylist()
    write_table([row | {"config_free_bits": 0.5} for row in rows], TRIALS, study.trials_file)
    space = warm_start(parse_space(conditional), study)
    best, second, _ = space.start
    assert best["reconstruction_loss"] == "mse"
    assert ("learned_variance" in best, "free_bits" in best) == (True, False)
    assert (second["reconstruction_loss"], second["free_bits"]) == ("bce", 0.5)
    assert "learned_variance" not in second
