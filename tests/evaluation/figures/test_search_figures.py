"""The figures of a search: what they show of trials whose outcome is known."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from evaluation.analysis.importance import Importance, Importances
from evaluation.analysis.judged_rungs import judged_rungs
from evaluation.analysis.results import Results
from evaluation.figures.importance import draw_importance
from evaluation.figures.learning_curves import draw_learning_curves
from evaluation.figures.parallel_coordinates import draw_parallel_coordinates, parallel_coordinates
from evaluation.figures.rung_ladder import draw_rung_ladder
from evaluation.figures.style import CATEGORY_COLOURS, FAINT, WINNER, limits_without_outliers
from tests.evaluation.searches import write_search
from tune.storage.tables import TRIALS, read_table, write_table
from tune.storage.trial_status import TrialCategory


@pytest.fixture(scope="module", params=["max", "min"])
def results(request, tmp_path_factory):
    return Results.read(write_search(tmp_path_factory.mktemp("figures") / "run", mode=request.param))


@pytest.fixture(scope="module")
def view(results):
    return parallel_coordinates(results)


def counts(results):
    return results.trials["stop_reason"].fillna(results.trials["status"]).value_counts()


def test_learning_curves_name_every_fate_with_its_count_and_the_winner(results):
    names = [text.get_text() for text in draw_learning_curves(results).axes[0].get_legend().get_texts()]
    n = counts(results)
    assert names == [
        f"winner, {results.winner}",
        f"completed ({n['completed'] - 1})",
        f"stopped at a rung ({n['rung']})",
        "failed: posterior collapse (1)",
        "failed: NaN loss (1)",
        "failed: out of memory (1)",
        "cut short: time budget spent (1)",
        "running (1)",
    ]


def test_each_learning_curve_has_the_colour_of_its_fate(results):
    lines = draw_learning_curves(results).axes[0].lines
    metric = results.objectives[0]
    for trial_id, colour in (
        (results.winner, WINNER),
        (
            results.trials.query("stop_reason == 'collapsed'")["trial_id"].item(),
            CATEGORY_COLOURS[TrialCategory.FAILED],
        ),
        (
            results.trials.query("stop_reason == 'time_budget'")["trial_id"].item(),
            CATEGORY_COLOURS[TrialCategory.CUT_SHORT],
        ),
        (results.trials.query("rung == 3")["trial_id"].iloc[0], CATEGORY_COLOURS[TrialCategory.STOPPED]),
    ):
        curve = results.epochs[results.epochs["trial_id"] == trial_id][metric].tolist()
        assert colour in [line.get_color() for line in lines if np.array_equal(line.get_ydata(), curve)]


def test_the_winners_dot_is_its_best_epoch(tmp_path):
    run = write_search(tmp_path / "run")
    rows = read_table(run.trials_file).to_pylist()
    write_table([row | {"best_epoch": min(2, row["epochs"])} for row in rows], TRIALS, run.trials_file)
    lines = draw_learning_curves(Results.read(run)).axes[0].lines
    (dot,) = [line for line in lines if line.get_color() == WINNER and line.get_marker() == "o"]
    assert dot.get_xdata().tolist() == [2]


def test_a_trial_that_failed_before_its_first_epoch_is_a_cross_at_the_foot(results):
    axes = draw_learning_curves(results).axes[0]
    feet = [line for line in axes.lines if line.get_transform() == axes.get_xaxis_transform()]
    assert [(line.get_marker(), line.get_xdata().tolist()) for line in feet] == [("x", [1])]


def test_places_are_those_of_the_values_and_better_is_up(results, view):
    assert view.names == [
        "architecture", "width", "latent_dim", "reconstruction_loss", "ssim_window", "kl_weight",
        "learning_rate",
    ]  # fmt: skip
    rate = view.params[6]
    for row, place in zip(results.trial_rows, rate.places, strict=True):
        expected = np.log(row["config_learning_rate"] / 3e-4) / np.log(5e-3 / 3e-4)
        assert place == pytest.approx(expected)
    assert [text for _, text in rate.ticks] == ["0.0005", "0.001", "0.002", "0.005"]
    assert [text for _, text in view.params[4].ticks] == ["–", "7", "11"]
    known = [row["objective"] for row in results.trial_rows if row["objective"] is not None]
    best = (max if results.mode == "max" else min)(known)
    places = {row["objective"]: p for row, p in zip(results.trial_rows, view.objective.places, strict=True)}
    assert places[best] == max(p for p in places.values() if p is not None)
    assert places[None] is None


def test_every_place_is_on_its_axis_and_no_two_trials_of_a_choice_share_one(results, view):
    for axis in view.axes:
        assert all(0 <= place <= 1 for place in axis.places if place is not None)
        assert all(0 <= place <= 1 for place, _ in axis.ticks)
    loss = view.params[3]
    assert len(set(loss.places)) == len(loss.places)
    middle = {text: place for place, text in loss.ticks}
    for row, place in zip(results.trial_rows, loss.places, strict=True):
        nearest = min(middle, key=lambda text: abs(middle[text] - place))
        assert nearest == row["config_reconstruction_loss"]


def test_a_line_for_every_trial_the_winners_on_top_and_the_stopped_faint(results, view):
    figure = draw_parallel_coordinates(results, view)
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]
    assert len(lines) == len(results.trials) + 1  # the winner's dots
    n = counts(results)
    faint = [line for line in lines if line.get_alpha() == 0.35]
    assert len(faint) == n["rung"] + n["time_budget"] + n["running"]
    failed = [line for line in lines if line.get_color() == CATEGORY_COLOURS[TrialCategory.FAILED]]
    assert len(failed) == 3
    top = max(lines, key=lambda line: line.get_zorder())
    assert top.get_color() == WINNER
    row = [row["trial_id"] for row in results.trial_rows].index(results.winner)
    assert list(top.get_ydata()) == [axis.places[row] for axis in view.axes]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [f"winner, {results.winner}", "completed", "stopped early", "failed"]


def test_without_a_value_or_a_space_there_are_no_coordinates(tmp_path):
    run = write_search(tmp_path / "run", 5)
    rows = read_table(run.trials_file).to_pylist()
    write_table([row | {"objective": None} for row in rows], TRIALS, run.trials_file)
    assert parallel_coordinates(Results.read(run)) is None
    write_table(rows[:1], TRIALS, run.trials_file)
    assert parallel_coordinates(Results.read(run)) is None


def test_the_rungs_hold_who_was_judged_and_what_the_rule_decided(results):
    first, second = judged_rungs(results)
    assert (first.epoch, second.epoch) == (1, 3)
    assert len(first.trials) == len(results.trials) - 1  # all but the one without an epoch
    stopped = results.trials.query("stop_reason == 'rung'").set_index("trial_id")
    for rung in (first, second):
        table = rung.trials.set_index("trial_id")
        expected = stopped[stopped["rung"] == rung.epoch]
        assert set(table.index[table["stopped"]]) == set(expected.index)
        assert table.loc[expected.index, "asked"].tolist() == expected["cutoff"].tolist()
        assert table.loc[~table["stopped"], "asked"].isna().all()
        # Of n values the best n // 3 are at least as good as the last cutoff.
        seen = len(table) + (rung is second)  # with the one that collapsed there
        assert rung.beats_cutoff(results.mode).sum() == seen // 3
    collapsed = results.trials.query("stop_reason == 'collapsed'")["trial_id"].item()
    assert collapsed in first.trials["trial_id"].tolist()
    assert collapsed not in second.trials["trial_id"].tolist()  # it ended there, whatever its value


def test_the_ladder_shows_who_continued_who_had_bad_luck_and_the_winner(results):
    rungs = judged_rungs(results)
    figure = draw_rung_ladder(results, rungs)
    assert [axes.get_title() for axes in figure.axes] == ["epoch 1", "epoch 3"]
    for axes, rung in zip(figure.axes, rungs, strict=True):
        table, better = rung.trials, rung.beats_cutoff(results.mode)
        counts = f"{len(table)} judged, {(~table['stopped']).sum()} continued"
        assert counts in [text.get_text() for text in axes.texts]
        dots = {
            (line.get_marker(), line.get_color()): len(line.get_xdata())
            for line in axes.lines
            if line.get_marker() in ("o", "*")
        }
        assert dots["*", WINNER] == 1
        assert dots["o", CATEGORY_COLOURS[TrialCategory.COMPLETED]] == (~table["stopped"]).sum() - 1
        assert dots["o", CATEGORY_COLOURS[TrialCategory.CUT_SHORT]] == (table["stopped"] & better).sum()
        assert dots["o", CATEGORY_COLOURS[TrialCategory.STOPPED]] == (table["stopped"] & ~better).sum()
        across = next(line for line in axes.lines if line.get_xdata() == [0, 1])
        assert across.get_ydata() == [rung.cutoff] * 2


def test_hyperband_has_a_ladder_for_each_bracket(tmp_path):
    results = Results.read(write_search(tmp_path / "run", scheduler="hyperband"))
    rungs = judged_rungs(results)
    assert [(rung.bracket, rung.epoch) for rung in rungs] == [(0, 1), (0, 3), (1, 3)]
    for rung in rungs:
        assert set(rung.trials["number"] % 2) == {rung.bracket}
    titles = [axes.get_title() for axes in draw_rung_ladder(results, rungs).axes]
    assert titles == ["bracket 1, epoch 1", "bracket 1, epoch 3", "bracket 2, epoch 3"]


def test_trials_of_different_budgets_have_rungs_of_their_own(tmp_path):
    run = write_search(tmp_path / "run")
    rows = read_table(run.trials_file).to_pylist()
    for row in rows:
        row["config_schedule_epochs"] = [4, 9] if row["number"] < 10 else [9]
    write_table(rows, TRIALS, run.trials_file)
    results = Results.read(run)
    rungs = judged_rungs(results)
    assert [(rung.budget, rung.epoch) for rung in rungs] == [(4, 1), (4, 3), (9, 1), (9, 3)]
    for rung in rungs:
        assert set(rung.trials["number"] < 10) == {rung.budget == 4}
    titles = [axes.get_title() for axes in draw_rung_ladder(results, rungs).axes]
    assert titles[0] == "budget 4, epoch 1"
    assert titles[-1] == "budget 9, epoch 3"


@pytest.mark.parametrize("scheduler", ["median", "none"])
def test_other_schedulers_have_no_rungs(tmp_path, scheduler):
    assert judged_rungs(Results.read(write_search(tmp_path / "run", scheduler=scheduler))) == []


def test_a_bar_that_does_not_beat_chance_is_grey():
    params = [
        Importance(name="kl_weight", share=0.7, chance=0.2),
        Importance(name="batch_size", share=0.3, chance=1.4),
    ]
    axes = draw_importance(Importances(n_trials=40, n_best=10, params=params)).axes[0]
    assert [(bar.get_width(), to_hex(bar.get_facecolor())) for bar in axes.patches] == [
        (0.7, WINNER),
        (0.3, FAINT),
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["KL weight", "batch"]
    assert axes.get_title() == "What the best 10 of 40 trials have in common"
    assert [text.get_text() for text in axes.texts[:-1]] == ["70 %"]  # the last explains the colours
    (stroke, beyond) = axes.lines
    assert list(stroke.get_xdata()) == [0.2, 0.2]
    assert beyond.get_marker() == ">"


def test_importances_that_chance_would_give_are_said_to_be_nothing():
    found = Importances(n_trials=20, n_best=5, params=[Importance(name="width", share=1.0, chance=1.1)])
    title = draw_importance(found).axes[0].get_title()
    assert title == "No hyperparameter stands out from chance in 20 trials"


@pytest.mark.parametrize(("mode", "outlier"), [("max", -9.0), ("min", 9.0)])
def test_one_hopeless_trial_does_not_stretch_the_limits(mode, outlier):
    values = [*np.linspace(0.5, 0.9, 50), outlier]
    low, high = limits_without_outliers(values, mode)
    assert 0.4 < low < 0.53
    assert 0.87 < high < 1.0
    assert limits_without_outliers(values[-3:], mode)[mode == "min"] == pytest.approx(outlier, rel=0.1)
    assert limits_without_outliers([0.5], mode) == pytest.approx((0.499, 0.501))
