"""What a search is asked for: defaults, rules, and what study.json keeps of it."""

import inspect
import json
from dataclasses import fields, replace

import pytest

import tune
from tests.tune.conftest import SMALL_SPACE
from tune.arguments import make_parser, plan_from_arguments
from tune.space.file import load_space, parse_space
from tune.storage.study_record import StudyRecord
from tune.study.plan import Plan
from tune.study.rules import duration
from vae.errors import StorageError, UsageError


def test_the_command_without_arguments_and_the_plan_have_the_same_defaults():
    assert plan_from_arguments(make_parser().parse_args(["search"])) == Plan()


def test_the_function_has_the_defaults_of_the_plan():
    given = {name: p.default for name, p in inspect.signature(tune.search).parameters.items()}
    given["time_budget_s"] = given.pop("time_budget")
    for f in fields(Plan):
        if f.name != "evaluate":  # by the command alone
            assert given[f.name] == f.default, f.name


def test_every_argument_of_the_command_is_a_field():
    words = ["search", "--trials", "3", "--objective", "val_ssim", "--objective", "val_mse", "--no-evaluate"]
    words += ["--time-budget", "1m", "--cpus-per-trial", "0.5", "--grace-period", "2", "--name", "mine"]
    words += ["--resize", "32"]
    plan = plan_from_arguments(make_parser().parse_args(words))
    assert (plan.trials, plan.objectives, plan.evaluate) == (3, ("val_ssim", "val_mse"), False)
    assert (plan.time_budget_s, plan.cpus_per_trial, plan.grace_period, plan.name) == (60, 0.5, 2, "mine")
    assert plan.resize == 32


@pytest.mark.parametrize("command", ["search", "resume RUN", "extend RUN"])
def test_finalists_per_dim_is_a_flag_of_each_command(command):
    def given(*flags):
        return make_parser().parse_args([*command.split(), *flags]).finalists_per_dim

    assert (bool(given()), given("--finalists-per-dim")) == (False, True)


def test_at_most_as_many_finalists_are_planned_for_as_there_are_dimensions_and_trials():
    space = {"latent_dim": {"choice": [2, 4, 8, 16]}}
    assert Plan(space=space).most_finalists == 3
    assert Plan(space=space, finalists_per_dim=True).most_finalists == 6
    assert Plan(space=space, finalists_per_dim=True, trials=5).most_finalists == 5


def test_every_field_has_a_help_text_and_a_group():
    assert all(f.metadata["help"] and f.metadata["group"] for f in fields(Plan))


def test_a_full_training_sees_as_many_images_on_a_small_set_as_on_a_large_one():
    assert Plan().choose_budget(50_000).images == Plan().choose_budget(6_000).images == 400_000
    assert Plan().choose_budget(50_000).max_epochs == 8
    assert Plan(max_epochs=2.5).choose_budget(6_000).images == 15_000


def test_a_longer_budget_keeps_the_grace_period():
    record = Plan(max_epochs=8).arguments(Plan(max_epochs=8).choose_budget(50_000))
    assert (record["budget"], record["grace_period"]) == (400_000, 0.125)
    longer = Plan(budget=4_000_000, grace_period=record["grace_period"]).choose_budget(50_000)
    assert longer.rungs[0] == 6_250


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": 0}, "trials must be a whole number >= 1, got 0"),
        ({"trials": 2.5}, "trials must be a whole number >= 1, got 2.5"),
        ({"trials": True}, "trials must be a whole number >= 1, got True"),
        ({"trials": None}, "trials must be a whole number >= 1, got None"),
        ({"resize": 65}, "resize must be a whole number from 8 to 64, got 65"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"reduction_factor": 1}, "reduction_factor must be a number > 1, got 1"),
        ({"reduction_factor": float("nan")}, "reduction_factor must be a number > 1, got nan"),
        ({"cpus_per_trial": 0}, "cpus_per_trial must be a number > 0, got 0"),
        ({"time_budget_s": "soon"}, "time_budget must be a time such as 90s, 30m or 1h30m, got 'soon'"),
        ({"time_budget_s": 0}, "time_budget must be a number > 0, got 0"),
        ({"space": {"latent_dims": 3}}, "did you mean 'latent_dim'"),
        ({"space": 3.5}, "space must be a path or a dict, got 3.5"),
    ],
)
def test_a_wrong_argument_of_any_caller_is_one_clear_error(arguments, message):
    with pytest.raises(UsageError, match=message):
        Plan(**arguments)


def test_a_space_is_a_file_a_dict_or_a_space(tmp_path):
    (tmp_path / "mine.yaml").write_text("latent_dim: {int: [2, 8]}")
    expected = parse_space({"latent_dim": {"int": [2, 8]}})
    for given in (tmp_path / "mine.yaml", str(tmp_path / "mine.yaml"), {"latent_dim": {"int": [2, 8]}}):
        assert Plan(space=given).space == expected
    assert Plan(space=expected).space is expected
    assert Plan().space == load_space()


def test_one_objective_may_be_named_alone():
    assert Plan(objectives="val_ssim").objectives == ("val_ssim",)
    assert Plan(objectives=["val_ssim", "val_mse"]).objectives == ("val_ssim", "val_mse")


def test_a_plan_is_the_same_after_json(tmp_path):
    plan = Plan(space=SMALL_SPACE, objectives="val_ssim", data_dir=tmp_path, storage=tmp_path, trials=3)
    content = json.loads(
        json.dumps({"arguments": plan.arguments(plan.choose_budget(50_000)), "space": plan.space.source})
    )
    record = StudyRecord(name="a", objectives=["val_ssim"], **content)
    assert Plan.from_record(record) == replace(plan, budget=400_000, grace_period=0.125)
    assert "resize" not in plan.arguments(plan.choose_budget(50_000)), (
        "a study that does not resize opens in older versions"
    )
    assert Plan(resize=32).arguments(Plan().choose_budget(50_000))["resize"] == 32


def test_a_plan_of_another_version_is_one_clear_error():
    record = StudyRecord(name="a", arguments={"generations": 3}, space=SMALL_SPACE)
    with pytest.raises(StorageError, match="study.json was written by another version: .*generations"):
        Plan.from_record(record)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2h", 7200), ("1h1m1s", 3661)],
)
def test_times_are_read_as_people_write_them(text, seconds):
    assert duration(text) == seconds
