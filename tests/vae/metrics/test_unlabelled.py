"""Scores of an embedding that need no labels, against scikit-learn and cases worked by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from vae.config import LossConfig, ModelConfig
from vae.inference import embed
from vae.metrics.panel import evaluate_panel
from vae.metrics.unlabelled import MAX_IMAGES, UnlabelledScores, nearest_others, rankme
from vae.models import build_model


def images(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=generator)


def scikit_learns_recall(first, second):
    near = [NearestNeighbors(n_neighbors=10).fit(points).kneighbors()[1] for points in (first, second)]
    return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*near, strict=True)])


def test_neighbour_recall_of_a_model_is_what_scikit_learn_gives():
    shown = images(60)
    model = build_model(ModelConfig(latent_dim=3), (1, 8, 8)).eval()
    panel = evaluate_panel(model, shown, LossConfig(), unlabelled=UnlabelledScores(shown), batch_size=16)
    expected = scikit_learns_recall(shown.flatten(1).double().numpy(), embed(model, shown).numpy())
    assert 0 < expected < 1
    assert panel["val_neighbour_recall"] == pytest.approx(expected)


def test_an_embedding_that_keeps_all_distances_keeps_all_neighbours():
    shown = images(40)
    turned = shown.flatten(1).float() @ torch.linalg.qr(torch.randn(64, 64))[0]
    assert UnlabelledScores(shown)(turned / 255)["val_neighbour_recall"] == 1


def test_a_point_is_not_its_own_neighbour_though_it_has_duplicates():
    points = torch.zeros(30, 2)
    index = nearest_others(points, 5)
    assert index.shape == (30, 5)
    assert not (index == np.arange(30)[:, None]).any()


def test_of_many_images_some_from_all_over_are_compared():
    scores = UnlabelledScores(images(2 * MAX_IMAGES + 1))
    assert (len(scores.rows), scores.rows[0], scores.rows[-1]) == (MAX_IMAGES, 0, 2 * MAX_IMAGES)
    assert set(scores.rows.diff().tolist()) == {2, 3}


@pytest.mark.parametrize("lengths", [(1, 1, 1, 1), (4, 2, 1, 1), (3, 0, 0, 0)])
def test_rankme_is_the_exponential_of_the_entropy_of_the_singular_values(lengths):
    shares = np.array([length for length in lengths if length]) / sum(lengths)
    points = torch.zeros(9, 4)
    points[:4] = torch.diag(torch.tensor(lengths, dtype=torch.float32))
    assert rankme(points) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_rankme_does_not_change_when_the_embedding_is_turned_or_scaled():
    points = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [9, 5, 1, 1, 0.1, 0]
    )
    turned = 7 * points @ torch.linalg.qr(torch.randn(6, 6))[0]
    assert rankme(turned) == pytest.approx(rankme(points), rel=1e-4)
    assert 1 < rankme(points) < 6


def test_an_embedding_of_zeros_has_rank_zero():
    assert rankme(torch.zeros(5, 3)) == 0


def test_means_that_are_not_finite_have_no_score():
    found = UnlabelledScores(images(20))(torch.full((20, 2), math.nan))
    assert all(math.isnan(value) for value in found.values())


def test_two_images_are_each_others_neighbours_and_one_has_none():
    assert UnlabelledScores(images(2))(torch.eye(2))["val_neighbour_recall"] == 1
    assert math.isnan(UnlabelledScores(images(1))(torch.eye(1))["val_neighbour_recall"])
