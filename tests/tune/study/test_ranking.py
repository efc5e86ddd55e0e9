"""Which trials and which fresh seeds count in the study as it is."""

import pandas as pd
import pytest

from tests.evaluation.conftest import BEST, SECOND, write_fresh_seeds
from tune.storage.study_record import StudyRecord
from tune.storage.tables import FINALIST_SEEDS, TRIALS, read_table, write_table
from tune.study.ranking import (
    choose_finalists,
    current_seeds,
    finalist_ids,
    fresh_objectives,
    rank_finalists,
)
from tune.study.session import open_study
from tune.study.state import weights_hash
from tune.study.study import Study
from vae.checkpoint import MODEL_FILE
from vae.errors import UsageError


def begin_extension(run, max_epochs, **rows):
    """Make a finished study one that was begun to be extended; ``rows`` change trials by their number."""
    record = run.read_study()
    record.sessions = [
        {"status": "completed", "max_epochs": record.max_epochs},
        {"status": "interrupted", "max_epochs": max_epochs},
    ]
    record.arguments["max_epochs"], record.status = max_epochs, "interrupted"
    record.write(run.study_file)
    begun = {"status": "stopped_early", "stop_reason": "interrupted"}
    trials = [
        row | (begun if row["status"] == "completed" else {}) | rows.get(f"t{row['number']}", {})
        for row in read_table(run.trials_file).to_pylist()
    ]
    write_table(trials, TRIALS, run.trials_file)


def test_a_finished_study_that_was_begun_to_be_extended_has_finalists(study):
    begin_extension(study, 300, t0={"epochs": 17, "objective": 0.96})
    # Number 2 has the best value, but was stopped at its first epoch; 3 has failed.
    assert choose_finalists(study, "max", 9) == [SECOND, BEST, "0004-fc-2d"]
    assert Study(study.path).best_trial.trial_id == SECOND


def test_each_session_records_its_budget_and_an_older_one_that_had_ended_gets_the_one_it_had(study):
    record = study.read_study()
    record.sessions = [{"status": "completed"}]
    record.write(study.study_file)
    with open_study(study, max_epochs=12) as session:
        assert [each["max_epochs"] for each in session.record.sessions] == [3, 12]
        assert session.record.previous_budget == 3
    record.sessions, record.status = [{"status": "completed"}, {"status": "interrupted"}], "interrupted"
    record.write(study.study_file)
    with open_study(study) as session:  # what the first had is not known
        assert [each.get("max_epochs") for each in session.record.sessions] == [None, None, 3]


def test_once_a_trial_has_completed_the_new_budget_it_alone_counts(study):
    begin_extension(study, 300, t4={"status": "completed", "stop_reason": None, "epochs": 300})
    assert choose_finalists(study, "max", 9) == ["0004-fc-2d"]


def test_a_search_that_was_interrupted_before_any_budget_was_completed_has_no_finalists(study):
    begin_extension(study, 300)
    record = study.read_study()
    record.sessions = record.sessions[1:]
    record.write(study.study_file)
    with pytest.raises(UsageError, match="none of the 5 trials in .* ran its full budget"):
        choose_finalists(study, "max", 3)


def test_finalists_may_be_the_best_of_each_dimension_as_well():
    study = StudyRecord(name="by hand")
    dims = [("a", 0.9, 8), ("b", 0.8, 8), ("c", 0.7, 4), ("d", 0.6, 4), ("e", 0.5, 2), ("f", 0.4, 16)]
    rows = [
        {"trial_id": name, "status": "completed", "objective": value, "checkpoint": name}
        | {"config_latent_dim": dim}
        for name, value, dim in dims
    ]
    rows[-1]["checkpoint"] = None  # could not be kept
    assert finalist_ids(rows, study, "max", 1, per_dim=True) == ["a", "c", "e"]
    assert finalist_ids(rows, study, "max", 2, per_dim=True) == ["a", "b", "c", "e"]
    assert finalist_ids(rows, study, "max", 2) == ["a", "b"]


def test_a_dimension_that_has_no_finalist_is_named(study, caplog):
    rows = [
        row | {"config_latent_dim": 1 + row["number"]} for row in read_table(study.trials_file).to_pylist()
    ]
    write_table(rows, TRIALS, study.trials_file)
    choose_finalists(study, "max", 1)
    assert not caplog.records
    choose_finalists(study, "max", 1, per_dim=True)  # numbers 0, 1 and 4 ran their full budget
    assert "no finalist with 3, 4 dimensions" in caplog.text


@pytest.mark.parametrize("mode", ["max", "min"])
def test_fresh_seeds_rank_only_if_every_finalist_has_some(mode):
    rows = [("a", "completed", 0.7), ("a", "completed", 0.8), ("b", "completed", 0.9), ("c", "failed", None)]
    seeds = pd.DataFrame(rows, columns=["trial_id", "status", "objective"])
    assert rank_finalists(["c", "a", "b"], seeds, mode) == ["c", "a", "b"]
    assert rank_finalists(["a", "b"], seeds, mode) == (["b", "a"] if mode == "max" else ["a", "b"])


def test_seeds_of_another_budget_do_not_count(study):
    write_fresh_seeds(study, {BEST: [0.5, 0.6], SECOND: [0.7]})
    assert fresh_objectives(current_seeds(study, 3)) == {BEST: [0.5, 0.6], SECOND: [0.7]}
    assert current_seeds(study, 12).empty


def test_a_seed_whose_model_is_gone_does_not_count_and_a_failed_one_stays(study):
    write_fresh_seeds(study, {BEST: [0.5, 0.6, None]})
    (study.seed_checkpoint_dir(BEST, 1) / MODEL_FILE).unlink()
    found = current_seeds(study, 3)
    assert found["seed"].tolist() == [2, 3]
    assert fresh_objectives(found) == {BEST: [0.6]}


def test_a_seed_of_a_trial_that_has_other_weights_now_does_not_count(study):
    write_fresh_seeds(study, {BEST: [0.5], SECOND: [0.7]})
    own = {trial_id: weights_hash(study.checkpoint_dir(trial_id)) for trial_id in (BEST, SECOND)}
    rows = [
        row | {"trial_weights": own[row["trial_id"]]}
        for row in read_table(study.finalist_seeds_file).to_pylist()
    ]
    write_table(rows, FINALIST_SEEDS, study.finalist_seeds_file)
    assert fresh_objectives(current_seeds(study, 3)) == {BEST: [0.5], SECOND: [0.7]}
    (study.checkpoint_dir(BEST) / MODEL_FILE).write_bytes(b"other weights")
    assert fresh_objectives(current_seeds(study, 3)) == {SECOND: [0.7]}


def test_seeds_that_an_older_version_kept_below_the_checkpoint_are_read(study):
    write_fresh_seeds(study, {BEST: [0.5]})
    old = study.checkpoint_dir(BEST) / "seeds" / "1"
    old.parent.mkdir()
    study.seed_checkpoint_dir(BEST, 1).rename(old)
    table = read_table(study.finalist_seeds_file).drop_columns(["trial_weights"])
    rows = [row | {"checkpoint": f"checkpoints/{BEST}/seeds/1"} for row in table.to_pylist()]
    schema = FINALIST_SEEDS.remove(FINALIST_SEEDS.get_field_index("trial_weights"))
    write_table(rows, schema, study.finalist_seeds_file)
    assert fresh_objectives(current_seeds(study, 3)) == {BEST: [0.5]}
