from dataclasses import replace

import pytest

from evaluation.analysis.results import Results
from evaluation.analysis.searched_params import Branch, searched_params
from tests.evaluation.searches import write_search


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_search(tmp_path_factory.mktemp("searched") / "run")


@pytest.fixture
def found(run):
    return {param.name: param for param in searched_params(Results.read(run))}


def test_constants_and_starting_points_are_not_searched(found):
    assert list(found) == [
        "architecture", "width", "latent_dim", "reconstruction_loss", "ssim_window", "kl_weight",
        "learning_rate",
    ]  # fmt: skip


def test_scales_choices_and_limits_are_those_of_the_space(found):
    assert [name for name, param in found.items() if param.log] == [
        "latent_dim",
        "kl_weight",
        "learning_rate",
    ]
    assert found["architecture"].choices == ["fc", "conv", "unet"]
    assert found["width"].choices == [0.5, 1.0, 2.0]
    assert found["ssim_window"].choices == [7, 11]
    assert found["kl_weight"].choices is None
    assert found["kl_weight"].limits == (0.01, 1.0)


def test_values_are_in_the_order_of_the_trials_and_none_where_switched_off(run, found):
    rows = Results.read(run).trial_rows
    assert list(found["kl_weight"].values) == [row["config_kl_weight"] for row in rows]
    for row, window in zip(rows, found["ssim_window"].values, strict=True):
        assert (window is None) == (row["config_reconstruction_loss"] == "bce")


def test_the_branch_is_the_first_whose_condition_holds(found):
    fixed, free = found["width"].branches
    assert fixed.applies({"config_architecture": "unet"})
    assert not fixed.applies({"config_architecture": "fc"})
    assert free.applies({"config_architecture": "fc"})


@pytest.mark.parametrize(
    ("record", "inside", "outside"),
    [
        ({"float": [0.1, 1.0]}, 0.5, 2.0),
        ({"int": [2, 64]}, 64, 65),
        ({"choice": [True, False]}, True, None),
        ({"choice": [[5, 20], [10]]}, "5, 20", "5"),
        ("adam", "adam", "sgd"),
    ],
)
def test_a_branch_knows_its_values(record, inside, outside):
    branch = Branch.from_record(record)
    assert inside in branch
    assert outside not in branch
    assert None not in branch


def test_without_a_study_nothing_was_searched(run):
    assert searched_params(replace(Results.read(run), study=None)) == []


def test_a_value_that_the_space_has_no_more_is_still_a_choice(tmp_path):
    run = write_search(tmp_path / "run")
    study = run.read_study()
    study.space["architecture"] = {"choice": ["fc", "conv"]}
    study.write(run.study_file)
    assert searched_params(Results.read(run))[0].choices == ["fc", "conv", "unet"]
