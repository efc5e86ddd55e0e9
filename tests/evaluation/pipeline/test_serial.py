import pytest

from evaluation.embedders import Images, Pca
from evaluation.pipeline import serial
from evaluation.pipeline.serial import Embedded, MissingScore, Scored, compute
from evaluation.result_tables import PREDICTIONS
from evaluation.scores.settings import KnnGrid
from tests.evaluation.broken_embedders import NotANumber, Raising

GRID = KnnGrid(samples_per_class=(5, None), n_neighbors=(1, 5))


@pytest.fixture(scope="module")
def few(few_digits):
    return Images.from_dataset(few_digits)


def test_each_embedding_is_scored_in_every_round_with_its_own_columns(few):
    events = list(compute(few, [Pca((2, 3))], GRID))
    assert [str(event.key) for event in events if isinstance(event, Embedded)] == ["pca 2-d", "pca 3-d"]
    scored = [event for event in events if isinstance(event, Scored)]
    assert [str(event.round) for event in scored] == ["test", "cv", "structure"] * 2
    for event in scored:
        for row in event.rows:
            assert (row["method"], row["trial_id"], row["dim"]) == ("pca", None, event.key.dim)


def test_what_fails_is_a_named_gap_and_the_rest_goes_on(few):
    events = list(compute(few, [Raising(), NotANumber(), Pca((2,))], GRID))
    assert [str(event) for event in events if isinstance(event, MissingScore)] == [
        "raising 2-d: RuntimeError: no such luck",
        "nan 1-d: the embedding holds NaN or infinity",
    ]
    assert [str(event.key) for event in events if isinstance(event, Embedded)] == ["raising 1-d", "pca 2-d"]
    assert len([event for event in events if isinstance(event, Scored)]) == 6


def test_a_round_that_cannot_be_scored_is_a_gap_of_its_own(few, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(serial, "score_structure", fail)
    events = list(compute(few, [Pca((2,))], GRID))
    assert [str(event) for event in events if isinstance(event, MissingScore)] == [
        "pca 2-d, structure: RuntimeError: no such luck"
    ]
    assert [str(event.round) for event in events if isinstance(event, Scored)] == ["test", "cv"]


def test_without_labels_there_are_scores_of_the_structure_alone(unlabelled):
    embedded, scored = compute(Images.from_dataset(unlabelled), [Pca((2,))], GRID)
    assert isinstance(embedded, Embedded)
    assert [row["metric"] for row in scored.rows] == ["trustworthiness", "continuity", "neighborhood_recall"]


def test_the_votes_of_the_test_images_are_kept_for_the_reported_settings(few):
    events = list(compute(few, [Pca((2,))], KnnGrid(samples_per_class=(None,), n_neighbors=(10,))))
    table = next(event.predictions for event in events if isinstance(event, Scored))
    assert table.schema.equals(PREDICTIONS)
    frame = table.to_pandas()
    assert frame["index"].tolist() == list(range(len(few.test)))
    assert (frame[["method", "dim", "n_neighbors", "weights"]] == ["pca", 2, 10, "distance"]).all(axis=None)
    (row,) = (
        r
        for e in events
        if isinstance(e, Scored) and str(e.round) == "test"
        for r in e.rows
        if r["weights"] == "distance"
    )
    assert (frame["predicted"] == frame["label"]).mean() == pytest.approx(row["value"])
