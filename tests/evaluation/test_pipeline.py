from dataclasses import replace

import numpy as np
import pytest

from evaluation.embedders import Images, Pca
from evaluation.pipeline import Embedded, Gap, Scored, compute
from evaluation.protocols import KnnGrid, rank_within_class
from tests.evaluation.broken_embedders import NotANumber, Raising

GRID = KnnGrid(samples_per_class=(5, None), n_neighbors=(1, 5))


@pytest.fixture(scope="module")
def few(few_digits):
    return Images.from_dataset(few_digits)


def test_each_embedding_is_scored_in_every_round_with_its_own_columns(few):
    events = list(compute(few, [Pca((2, 3))], GRID))
    assert [str(event.key) for event in events if isinstance(event, Embedded)] == ["pca 2-d", "pca 3-d"]
    scored = [event for event in events if isinstance(event, Scored)]
    assert [str(event.round) for event in scored[:6]] == ["test", *(f"cv fold {i}" for i in range(1, 6))]
    assert len(scored) == 12
    for event in scored:
        for row in event.rows:
            assert (row["method"], row["trial_id"], row["dim"]) == ("pca", None, event.key.dim)


def test_what_fails_is_a_named_gap_and_the_rest_goes_on(few):
    events = list(compute(few, [Raising(), NotANumber(), Pca((2,))], GRID))
    assert [str(event) for event in events if isinstance(event, Gap)] == [
        "raising 2-d: RuntimeError: no such luck",
        "nan 1-d: the embedding holds NaN or infinity",
    ]
    assert [str(event.key) for event in events if isinstance(event, Embedded)] == ["raising 1-d", "pca 2-d"]
    assert len([event for event in events if isinstance(event, Scored)]) == 12


def test_a_round_that_cannot_be_scored_is_a_gap_of_its_own(few):
    three_of_each = np.argsort(rank_within_class(few.train_labels, 0), kind="stable")[:30]
    small = replace(few, train=few.train[three_of_each], train_labels=few.train_labels[three_of_each])
    events = list(compute(small, [Pca((2,))], KnnGrid(samples_per_class=(None,), n_neighbors=(1,))))
    why = "has no images: the training set has fewer than 5 per class"
    assert [str(event) for event in events if isinstance(event, Gap)] == [
        f"pca 2-d, cv fold 4: cv fold 4 {why}",
        f"pca 2-d, cv fold 5: cv fold 5 {why}",
    ]
    assert len([event for event in events if isinstance(event, Scored)]) == 4


def test_without_labels_there_are_embeddings_but_no_scores(unlabelled):
    events = list(compute(Images.from_dataset(unlabelled), [Pca((2,))], GRID))
    assert [type(event) for event in events] == [Embedded]
