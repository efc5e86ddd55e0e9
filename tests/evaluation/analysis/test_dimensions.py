"""How many dimensions are needed, from tables that are written by hand."""

import numpy as np
import pandas as pd
import pytest

from evaluation.analysis.dimensions import accuracy_by_dimension, smallest_as_good
from evaluation.analysis.results import Results
from evaluation.analysis.statements import dimensions_sentence
from evaluation.record import EvaluationRecord
from evaluation.result_tables import EVALUATIONS, PREDICTIONS
from tune.storage.tables import EPOCHS, FINALIST_SEEDS, TRIALS

N = 1000
SETTING = {"samples_per_class": None, "n_neighbors": 10, "weights": "distance"}


def results_of(*finalists, pca=(), outdated=None):
    """Results of finalists (dim, right answers), best first: the right ones are the first of `N` images."""
    scored = [("vae", f"{i:04d}-fc-{dim}d", dim, n) for i, (dim, n) in enumerate(finalists)]
    scored += [("pca", None, dim, n) for dim, n in pca]
    evaluations, predictions = [], []
    for method, trial_id, dim, n_right in scored:
        made_by = {"method": method, "trial_id": trial_id, "training_seed": None, "dim": dim} | SETTING
        of_test = {"protocol": "test", "metric": "knn_accuracy", "value": n_right / N, "n_query": N}
        evaluations.append(made_by | of_test)
        predicted = np.arange(N) >= n_right
        predictions += [
            made_by | {"index": i, "label": 0, "predicted": int(v)} for i, v in enumerate(predicted)
        ]
    empty = [schema.empty_table().to_pandas() for schema in (TRIALS, EPOCHS, FINALIST_SEEDS)]
    return Results(
        None,
        EvaluationRecord(study="by hand", finalists=tuple(key[1] for key in scored if key[1])),
        empty[0],
        empty[1],
        pd.DataFrame(evaluations).reindex(columns=EVALUATIONS.names),
        pd.DataFrame(predictions).reindex(columns=PREDICTIONS.names),
        empty[2],
        outdated,
    )


def test_the_smallest_that_is_not_significantly_worse_is_named():
    # Of 1,000 images the best has 5 more than 16-d has (p = 1/16), 30 more than 8-d, 100 more than 4-d.
    found = smallest_as_good(results_of((64, 900), (32, 900), (16, 895), (8, 870), (4, 800)))
    assert (found.best.key.dim, found.smallest.key.dim, found.n_smaller) == (64, 16, 4)
    assert found.difference.p_value == pytest.approx(1 / 16)


def test_the_search_goes_up_from_the_smallest():
    # 8-d is not worse, so that 16-d, which is, is not asked.
    assert smallest_as_good(results_of((64, 900), (16, 800), (8, 899))).smallest.key.dim == 8


def test_a_smaller_one_that_is_better_on_the_test_images_is_not_worse():
    assert smallest_as_good(results_of((64, 900), (8, 990))).smallest.key.dim == 8


def test_of_one_dimension_the_finalist_that_ranks_first_counts():
    rows = accuracy_by_dimension(results_of((16, 900), (8, 800), (8, 899), pca=[(2, 500), (8, 700)]))
    assert [(row.key.dim, row.test) for row in rows["vae"]] == [(8, 0.8), (16, 0.9)]
    assert [(row.key.dim, row.test) for row in rows["pca"]] == [(2, 0.5), (8, 0.7)]
    assert rows["umap"] == []


def test_the_best_itself_is_named_where_all_smaller_ones_are_worse():
    found = results_of((64, 900), (8, 800), (4, 700))
    assert smallest_as_good(found).smallest.key.dim == 64
    assert "is the best itself, 0000-fc-64d: each of the 2 smaller ones" in dimensions_sentence(found)


def test_the_sentence_gives_difference_interval_and_p():
    sentence = dimensions_sentence(results_of((64, 900), (16, 895), (8, 870)))
    assert sentence.startswith("The smallest that cannot be told from the best: 0001-fc-16d, 16 dimensions. ")
    assert sentence.endswith("0000-fc-64d minus it is +0.5 points [−0.0, +1.0], p = 0.062.")


def test_a_best_with_the_fewest_dimensions_is_said_to_have_them():
    sentence = dimensions_sentence(results_of((4, 900), (16, 890)))
    assert sentence == "No finalist has fewer dimensions than the best, 0000-fc-4d (4)."


@pytest.mark.parametrize(
    "results", [results_of((16, 900), (16, 890)), results_of((64, 9), (8, 8), outdated="It is.")]
)
def test_nothing_is_said_of_one_dimension_or_an_earlier_state(results):
    assert dimensions_sentence(results) is None
