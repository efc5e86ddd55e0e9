"""The scores against what they must be where it is known, and against plain computations of them."""

import numpy as np
import pytest

from evaluation.scores.structure import STRUCTURE, pixel_proximity, score_structure

PER_CLASS = 40


@pytest.fixture
def islands():
    """Three classes far apart in five dimensions."""
    generator = np.random.default_rng(0)
    labels = np.repeat([3, 5, 9], PER_CLASS)
    centres = 20 * np.eye(5, dtype=np.float32)[labels % 5]
    return (centres + generator.normal(size=(len(labels), 5))).astype(np.float32), labels


def scores(train, train_labels, test, test_labels, pixels, *, seed=0):
    near = pixel_proximity(pixels, seed=seed)
    found = score_structure(train, train_labels, test, test_labels, near, seed=seed)
    return {row["metric"]: row for row in found}


def test_islands_are_separated_perfectly(islands):
    points, labels = islands
    found = scores(points, labels, points, labels, points)
    assert found.keys() == STRUCTURE.keys()
    for name in ("linear_probe_accuracy", "kmeans_nmi", "kmeans_ari", "trustworthiness", "continuity"):
        assert found[name]["value"] == pytest.approx(1), name
    assert found["neighborhood_recall"]["value"] == 1
    assert found["silhouette"]["value"] > 0.8
    probe = found["linear_probe_accuracy"]
    assert (probe["n_train"], probe["n_query"]) == (120, 120)
    assert probe["low"] == pytest.approx(120 / (120 + 1.96**2), abs=1e-4)  # Wilson's, where all are right
    assert probe["high"] == 1


def test_chance_is_what_an_embedding_of_noise_has(islands):
    points, labels = islands
    noise = np.random.default_rng(1).normal(size=(len(points), 4)).astype(np.float32)
    found = {name: row["value"] for name, row in scores(noise, labels, noise, labels, points).items()}
    assert found["trustworthiness"] == pytest.approx(0.5, abs=0.1)
    assert found["continuity"] == pytest.approx(0.5, abs=0.1)
    assert found["neighborhood_recall"] == pytest.approx(10 / 119, abs=0.04)
    assert abs(found["kmeans_ari"]) < 0.1
    assert abs(found["silhouette"]) < 0.1
    assert found["linear_probe_accuracy"] < 0.65


def test_trustworthiness_is_told_from_continuity(islands):
    """One class laid over another: new neighbours that are no pixels' neighbours, and none torn apart."""
    points, labels = islands
    folded = points.copy()
    folded[labels == 5] = points[labels == 3]
    found = {name: row["value"] for name, row in scores(folded, labels, folded, labels, points).items()}
    assert found["trustworthiness"] < found["continuity"]


def test_without_labels_there_is_what_needs_none(islands):
    points, _ = islands
    assert scores(points, None, points, None, points).keys() == {
        "trustworthiness", "continuity", "neighborhood_recall"
    }  # fmt: skip


def test_one_class_alone_is_not_told_apart_from_any(islands):
    points, _ = islands
    one = np.zeros(len(points), dtype=np.int64)
    assert scores(points, one, points, one, points).keys() == {
        "trustworthiness", "continuity", "neighborhood_recall"
    }  # fmt: skip


def test_the_seed_decides_the_draws(islands):
    points, labels = islands
    first, second = (scores(points, labels, points, labels, points, seed=4) for _ in range(2))
    assert {n: r["value"] for n, r in first.items()} == {n: r["value"] for n, r in second.items()}
