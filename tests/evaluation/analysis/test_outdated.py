"""An evaluation of another state of the study says so, and nothing is concluded from it."""

import json
from datetime import UTC, datetime, timedelta

import pytest

import evaluation
from evaluation.analysis.finalists import finalist_rows
from evaluation.analysis.results import Results
from evaluation.analysis.statements import extension_sentence, verdict
from evaluation.api import evaluate
from evaluation.pipeline import serial
from evaluation.record import EvaluationRecord
from evaluation.result_tables import EVALUATIONS
from tests.evaluation.conftest import BEST, SECOND, write_fresh_seeds
from tests.tune.study.test_ranking import begin_extension
from tune.storage.tables import TRIALS, read_state, read_table, write_table
from tune.study.ranking import fresh_objectives
from vae.checkpoint import MODEL_FILE

THIRD = "0004-fc-2d"


def change_trials(run, **rows):
    trials = [row | rows.get(f"t{row['number']}", {}) for row in read_table(run.trials_file).to_pylist()]
    write_table(trials, TRIALS, run.trials_file)


def without_stamp(run, created_at):
    """Make the evaluation one of an older version."""
    record = json.loads(run.evaluation_file.read_text())
    del record["state"], record["test_uses"]
    record["created_at"] = created_at.isoformat(timespec="seconds")
    run.evaluation_file.write_text(json.dumps(record))
    for path in (run.evaluations_file, run.predictions_file):
        table = read_table(path)
        write_table(table, table.schema.with_metadata({"schema_version": "1"}), path)


def assert_nothing_is_concluded(results, why):
    assert why in results.outdated
    assert results.comparison.winner is None
    assert not any(results.is_winner(key) for key in results.comparison.keys)
    assert (finalist_rows(results), verdict(results), results.comparison.baselines) == ([], None, [])
    assert len(results.comparison) == 6  # what was measured stays


def test_every_file_of_an_evaluation_bears_its_state(evaluated):
    record = EvaluationRecord.read(evaluated.evaluation_file)
    assert record.state.max_epochs == 3
    assert record.state.weights.keys() == {BEST, SECOND}
    stamp = record.state.stamp
    assert read_state(evaluated.evaluations_file) == read_state(evaluated.predictions_file) == stamp
    assert json.loads(evaluated.embeddings_state_file.read_text())["state"] == stamp
    assert f'content="{stamp}"' in evaluated.report_file.read_text()
    assert Results.read(evaluated).outdated is None


def test_a_study_that_was_begun_to_be_extended(evaluated):
    begin_extension(evaluated, 300, t0={"epochs": 17, "objective": 0.99})
    results = Results.read(evaluated)
    assert_nothing_is_concluded(results, "its trials had a full budget of 3 epochs, now it is 300")
    assert results.winner == SECOND  # of the trials as they are
    assert results.finalists == [BEST, SECOND]


def test_finalists_of_each_dimension_are_those_of_today_until_another_comes(evaluated):
    file = evaluated.evaluation_file
    asked = {"finalists_asked": 1, "finalists_per_dim": True}
    file.write_text(json.dumps(json.loads(file.read_text()) | asked))
    change_trials(evaluated, t4={"config_latent_dim": 4})
    assert Results.read(evaluated).outdated is None  # the third has no dimension of its own
    change_trials(evaluated, t4={"config_latent_dim": 2})
    why = f"{THIRD} is among the best 1 trials and those of each dimension now"
    assert_nothing_is_concluded(Results.read(evaluated), why)


def test_a_better_trial_that_has_come_since(evaluated):
    change_trials(evaluated, t4={"objective": 0.99})
    results = Results.read(evaluated)
    assert_nothing_is_concluded(results, f"{THIRD} is among the best 2 trials now")
    assert results.winner == THIRD


def test_finalists_with_other_weights(evaluated):
    (evaluated.checkpoint_dir(SECOND) / MODEL_FILE).write_bytes(b"others")
    assert_nothing_is_concluded(Results.read(evaluated), f"{SECOND} has other weights now")


def test_tables_of_an_evaluation_that_was_killed_before_its_record(evaluated):
    table = read_table(evaluated.evaluations_file)
    write_table(table, EVALUATIONS, evaluated.evaluations_file, state="another")
    assert_nothing_is_concluded(Results.read(evaluated), "evaluations.parquet was written by a later one")


def test_more_trials_that_are_no_better_change_nothing(evaluated):
    change_trials(evaluated, t4={"objective": 0.85})
    assert Results.read(evaluated).comparison.winner is not None


def test_models_that_were_deleted_to_save_room_change_nothing(evaluated):
    for trial_id in (BEST, SECOND):
        (evaluated.checkpoint_dir(trial_id) / MODEL_FILE).unlink()
    assert Results.read(evaluated).outdated is None


def test_an_evaluation_of_baselines_alone_is_of_any_state(study):
    evaluate(study, methods=["pca"], dims=[2], compute=serial.compute, progress=False)
    begin_extension(study, 300)
    assert Results.read(study).outdated is None


def test_without_a_stamp_an_evaluation_counts_if_its_finalists_ended_before_it(evaluated):
    now = datetime.now(UTC)
    ended = {f"t{number}": {"finished_at": now} for number in (0, 1)}
    change_trials(evaluated, **ended)
    without_stamp(evaluated, now)
    assert Results.read(evaluated).comparison.winner is not None
    without_stamp_again = now - timedelta(hours=1)
    record = json.loads(evaluated.evaluation_file.read_text())
    record["created_at"] = without_stamp_again.isoformat(timespec="seconds")
    evaluated.evaluation_file.write_text(json.dumps(record))
    assert_nothing_is_concluded(Results.read(evaluated), f"{BEST} has been trained further")


def test_without_a_stamp_an_extension_that_was_begun_is_seen(evaluated):
    without_stamp(evaluated, datetime.now(UTC))
    begin_extension(evaluated, 300)
    assert_nothing_is_concluded(Results.read(evaluated), f"{BEST} has been trained further")


def test_a_run_of_an_older_version_keeps_its_evaluation_and_its_fresh_seeds_until_it_changes(old_run):
    run = old_run("finished")
    results = Results.read(run)
    assert (results.outdated, results.evaluation.state) == (None, None)
    assert results.comparison.winner is not None
    assert set(fresh_objectives(results.finalist_seeds)) == set(results.finalists)
    assert [finalist.fresh.n for finalist in finalist_rows(results)] == [1] * len(results.finalists)
    record = run.read_study()
    record.arguments["max_epochs"] += 4
    record.write(run.study_file)
    trials = [row | {"status": "stopped_early"} for row in read_table(run.trials_file).to_pylist()]
    write_table(trials, TRIALS, run.trials_file)
    results = Results.read(run)
    assert "has been trained further" in results.outdated
    assert (results.comparison.winner, results.finalist_seeds.empty) == (None, True)


def test_what_is_loaded_says_it_in_one_sentence(evaluated, caplog):
    begin_extension(evaluated, 300)
    found = evaluation.load(evaluated.path)
    assert caplog.messages == [found.outdated]
    assert found.outdated.endswith(f"`python -m evaluation {evaluated.path}` evaluates the study as it is.")
    assert found.outdated in found._repr_html_()
    assert repr(found).endswith(", outdated>")
    assert found.embedding("vae").shape[1] == 10  # that of the finalist which was the best then


def test_an_evaluation_of_a_begun_extension_says_what_it_compares(evaluated):
    begin_extension(evaluated, 300, t0={"epochs": 17, "objective": 0.99})
    evaluate(evaluated, methods=["pca", "vae"], finalists=2, compute=serial.compute, progress=False)
    results = Results.read(evaluated)
    assert (results.outdated, results.finalists) == (None, [SECOND, BEST])
    assert extension_sentence(results) == (
        "No trial has completed the 300 epochs that this study was extended to: the finalists are the best "
        "of those that had completed the 3 epochs before."
    )
    assert extension_sentence(results) in evaluated.report_file.read_text()


def test_the_uses_of_the_test_images_are_counted(evaluated):
    assert "evaluated once on" in evaluated.report_file.read_text()
    for n in (2, 3):
        options = {"methods": ["pca", "vae"], "finalists": 2, "dims": [2]}
        evaluate(evaluated, **options, compute=serial.compute, progress=False)
        assert EvaluationRecord.read(evaluated.evaluation_file).test_uses == n
        text = " ".join(evaluated.report_file.read_text().split())
        assert "evaluated once on" not in text
        assert f"This was evaluation {n} of this study on its test images" in text


def test_a_finalist_without_fresh_seeds_is_not_put_behind_one_that_has_some(evaluated):
    write_fresh_seeds(evaluated, {SECOND: [0.5, 0.6]})
    assert Results.read(evaluated).finalists == [BEST, SECOND]
    write_fresh_seeds(evaluated, {SECOND: [0.5, 0.6], BEST: [0.4, 0.3]})
    assert Results.read(evaluated).finalists == [SECOND, BEST]


@pytest.mark.parametrize("state", ["[]", '{"max_epochs": 3, "weights": 5}'])
def test_a_damaged_state_is_a_storage_error(evaluated, state):
    from vae.errors import StorageError

    record = json.loads(evaluated.evaluation_file.read_text()) | {"state": json.loads(state)}
    evaluated.evaluation_file.write_text(json.dumps(record))
    with pytest.raises(StorageError, match=r"cannot read .*evaluation\.json"):
        Results.read(evaluated)
