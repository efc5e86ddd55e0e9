"""What hyperparameters have to do with being among the best, on searches whose truth is known."""

import numpy as np
import pytest

from evaluation.analysis.importance import MIN_TRIALS, adaptive_sampler, importances, levels_of_chance, rank
from evaluation.analysis.results import Results
from evaluation.figures.write import caption
from tests.evaluation.searches import write_search
from tune.storage.tables import TRIALS, read_table, write_table


def change(run, edit):
    rows = read_table(run.trials_file).to_pylist()
    for row in rows:
        row |= edit(row)
    write_table(rows, TRIALS, run.trials_file)
    return Results.read(run)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_hyperparameter_that_decides_comes_first_and_alone_beats_chance(tmp_path, mode):
    found = importances(Results.read(write_search(tmp_path / "run", mode=mode)))
    assert found.params[0].name == "kl_weight"
    assert [param.name for param in found.params if param.beats_chance] == ["kl_weight"]
    assert sum(param.share for param in found.params) == pytest.approx(1)
    assert (found.n_trials, found.n_best) == (37, 10)


def test_what_an_architecture_fixes_is_not_given_its_importance(tmp_path):
    results = change(
        write_search(tmp_path / "run", 60, scheduler="none", ends=False),
        lambda row: {"objective": (row["config_architecture"] == "unet") - 1e-4 * row["number"]},
    )
    found = {param.name: param for param in importances(results).params}
    assert found["architecture"].beats_chance
    assert not found["width"].beats_chance  # 0.5 wherever the architecture is the good one


def test_where_nothing_decides_next_to_nothing_beats_chance(tmp_path):
    results = change(
        write_search(tmp_path / "run", 60, scheduler="none", ends=False),
        lambda row: {"objective": (row["number"] * 37 % 60) / 60},
    )
    assert sum(param.beats_chance for param in importances(results).params) <= 1


def test_by_chance_any_hyperparameter_stands_out_in_one_search_of_twenty():
    # Ten that do nothing, on scales of their own; with a level for each alone it would be 4 searches of 10.
    generator = np.random.default_rng(0)
    scales = np.arange(1.0, 11.0)

    def draw(n):
        return {str(i): scale * generator.gamma(2, size=n) for i, scale in enumerate(scales)}

    level, later = levels_of_chance(draw(5000)), draw(5000)
    alone = np.mean([values > np.quantile(values, 0.95) for values in later.values()], axis=0) > 0
    together = np.mean([values > level[name] for name, values in later.items()], axis=0) > 0
    assert alone.mean() > 0.35
    assert together.mean() == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(("sampler", "adaptive"), [("tpe", "tpe"), ("random", None), (None, None)])
def test_the_caption_says_what_a_sampler_that_looks_takes_from_it(tmp_path, sampler, adaptive):
    run = write_search(tmp_path / "run", ends=False)
    record = run.read_study()
    record.arguments["sampler"] = sampler
    record.write(run.study_file)
    results = Results.read(run)
    assert adaptive_sampler(results) == adaptive
    assert ("take the figure as a hint, not as a test" in caption("importance", results)) == bool(adaptive)
    assert "a hint" not in caption("learning_curves", results)


def test_few_trials_say_nothing(tmp_path):
    few = write_search(tmp_path / "few", MIN_TRIALS - 1, ends=False)
    enough = write_search(tmp_path / "enough", MIN_TRIALS, ends=False)
    assert importances(Results.read(few)) is None
    assert importances(Results.read(enough)).n_trials == MIN_TRIALS


def test_no_space_says_nothing(tmp_path):
    run = write_search(tmp_path / "run", ends=False)
    run.study_file.write_text('{"name": "run"}')
    assert importances(Results.read(run)) is None


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_further_the_better_and_what_is_no_verdict_is_left_out(tmp_path, mode):
    worst = {"objective": 0.0 if mode == "max" else 9.0}  # and yet it came further than others
    run = write_search(tmp_path / "run", mode=mode)
    results = change(run, lambda row: worst if row["rung"] == 3 else {})
    ranked = [results.trial_rows[row] for row in rank(results)]
    kinds = [row["stop_reason"] or row["status"] for row in ranked]
    n_completed, n_stopped = kinds.count("completed"), kinds.count("rung")
    assert kinds == ["completed"] * n_completed + ["rung"] * n_stopped + ["collapsed", "nan"]
    epochs = [row["epochs"] for row in ranked[:-2]]
    assert epochs == sorted(epochs, reverse=True)
    for budget in set(epochs):
        values = [row["objective"] for row in ranked[:-2] if row["epochs"] == budget]
        assert values == sorted(values, reverse=mode == "max")
    left_out = {row["number"] for row in results.trial_rows} - {row["number"] for row in ranked}
    assert left_out == {1, 4, 5}


def test_it_is_the_same_every_time_and_leaves_optunas_log_as_it_was(tmp_path):
    import optuna

    results = Results.read(write_search(tmp_path / "run"))
    level = optuna.logging.get_verbosity()
    assert importances(results) == importances(results)
    assert optuna.logging.get_verbosity() == level
