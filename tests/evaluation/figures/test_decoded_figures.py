"""The figures of what the best VAE decodes: samples, interpolations, traversals, and what they share."""

import shutil

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from evaluation.analysis.results import Results
from evaluation.figures.finalist_models import BestVae, best_vae
from evaluation.figures.interpolations import N_PAIRS, N_STEPS, draw_interpolations, pairs
from evaluation.figures.mosaic import decode_pictures, show_mosaic
from evaluation.figures.samples import draw_samples, fitted_latents, prior_latents
from evaluation.figures.style import house_style
from evaluation.figures.traversals import STEPS, draw_traversals, most_active, traversal_latents
from tests.evaluation.conftest import BEST
from vae.config import ModelConfig
from vae.data import Dataset, ImageSet
from vae.inference import embed
from vae.models import build_model


@pytest.fixture(scope="module")
def results(evaluated_once):
    return Results.read(evaluated_once)


@pytest.fixture(scope="module")
def best(evaluated_once, results, digits):
    return best_vae(evaluated_once, results, digits)


def test_the_best_vae_comes_with_its_training_latents(best, evaluated_once, results, digits):
    assert best.trial_id == results.winner == BEST
    latents = embed(best.model, digits.train.images).numpy()
    np.testing.assert_allclose(best.train_latents, latents, atol=1e-5)


def test_without_its_embedding_on_disk_the_training_images_are_encoded_again(evaluated, best, digits):
    shutil.rmtree(evaluated.embeddings_dir)
    again = best_vae(evaluated, Results.read(evaluated), digits)
    np.testing.assert_allclose(again.train_latents, best.train_latents, atol=1e-5)


def test_a_vae_of_other_images_decodes_nothing_here(evaluated_once, results, digits):
    wide = Dataset(
        "wide", *(ImageSet(p.images.repeat(1, 1, 1, 2), None) for p in (digits.train, digits.test)), (), ""
    )
    assert best_vae(evaluated_once, results, wide) is None


def test_prior_samples_are_standard_normal_and_the_same_each_time():
    points = prior_latents(20_000, 3, seed=0)
    np.testing.assert_allclose(points.mean(0), 0, atol=0.03)
    np.testing.assert_allclose(np.cov(points.T), np.eye(3), atol=0.04)
    np.testing.assert_array_equal(prior_latents(20_000, 3, seed=0), points)


@pytest.mark.parametrize("scale", [1.0, 0.0], ids=["used", "unused"])
def test_fitted_samples_have_the_mean_and_covariance_of_the_latents(scale):
    generator = np.random.default_rng(0)
    mixing = np.array([[3, 1, 0], [0, 0.2, 0], [0, 0, scale]])  # the last dimension may be unused
    latents = (generator.normal(size=(5000, 3)) @ mixing + [5, -1, 2]).astype("f4")
    points = fitted_latents(50_000, latents, seed=0)
    np.testing.assert_allclose(points.mean(0), latents.mean(0), atol=0.06)
    np.testing.assert_allclose(np.cov(points.T), np.cov(latents.T), atol=0.2)
    np.testing.assert_array_equal(fitted_latents(50_000, latents, seed=0), points)


def test_one_latent_dimension_can_be_fitted_too():
    points = fitted_latents(10_000, np.array([[1.0], [3.0]], "f4"), seed=0)
    assert points.shape == (10_000, 1)
    assert points.std() == pytest.approx(np.sqrt(2), rel=0.03)


def test_samples_say_where_their_latents_are_from(best):
    with house_style():
        titles = [axes.get_title(loc="left") for axes in draw_samples(best).axes]
    assert titles == ["Prior: z ~ N(0, I)", "Gaussian fitted to the latents: z ~ N(mean, covariance)"]


def label_set(labels):
    return ImageSet(torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8), torch.tensor(labels))


@pytest.mark.parametrize("n_classes", [2, 3, 7, 10, 30])
def test_pairs_are_of_two_classes_and_no_image_comes_twice(n_classes):
    labels = np.random.default_rng(0).permutation(np.arange(n_classes).repeat(20))
    rows = pairs(label_set(labels))
    assert len(rows) == N_PAIRS
    assert all(labels[start] != labels[end] for start, end in rows)
    assert len({row for pair in rows for row in pair}) == 2 * N_PAIRS


def test_pairs_without_labels_are_neighbours_and_one_image_is_no_pair(unlabelled):
    assert pairs(unlabelled.test) == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    assert pairs(unlabelled.test.subset(torch.arange(3))) == [(0, 1)]
    assert pairs(unlabelled.test.subset(torch.arange(1))) == []
    assert pairs(label_set([1, 1])) == [(0, 1)]


def test_interpolations_go_from_one_reconstruction_to_the_other(best, few_digits, monkeypatch):
    decoded = []
    module = "evaluation.figures.interpolations.decode_pictures"
    monkeypatch.setattr(module, lambda model, z: decoded.append(z) or decode_pictures(model, z))
    figure = draw_interpolations(few_digits, best)
    ends = embed(best.model, few_digits.test.images[list(pairs(few_digits.test)[0])]).numpy()
    np.testing.assert_allclose(decoded[0][[0, N_STEPS - 1]], ends, atol=1e-5)
    np.testing.assert_allclose(decoded[0][N_STEPS // 2], ends.mean(0), atol=1e-5)
    left, _, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["0", "2", "4", "6", "8"]
    assert [text.get_text() for text in right.get_yticklabels()] == ["1", "3", "5", "7", "9"]


def test_the_most_active_dimensions_come_first():
    latents = np.random.default_rng(0).normal(size=(500, 12)) * np.r_[np.arange(11), 100]
    assert most_active(latents.astype("f4")) == [11, 10, 9, 8, 7, 6, 5, 4]
    assert most_active(latents[:, :2].astype("f4")) == [1, 0]


def test_a_traversal_moves_one_dimension_over_its_range_and_leaves_the_others():
    start, mean, deviation = (np.array(values, "f4") for values in ([9, 8, 7], [1, 2, 3], [10, 20, 30]))
    points = traversal_latents(start, [2, 0], mean, deviation)
    assert points.shape == (2 * len(STEPS), 3)
    np.testing.assert_allclose(points[0], [9, 8, 3 - 90])
    np.testing.assert_allclose(points[len(STEPS) - 1], [9, 8, 3 + 90])
    np.testing.assert_allclose(points[-1], [1 + 30, 8, 7])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 64, 64), (3, 12, 20)], ids=str)
@pytest.mark.parametrize("latent_dim", [1, 12])
def test_grey_and_colour_images_without_labels_are_drawn(shape, latent_dim):
    model = build_model(ModelConfig(latent_dim=latent_dim, width=0.1), shape, seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, *shape), generator=generator, dtype=torch.uint8)
    dataset = Dataset("noise", ImageSet(images, None), ImageSet(images, None), (), "")
    latents = embed(model, images).numpy()
    vae = BestVae(trial_id="a", model=model, kl_weight=1.0, train_latents=latents)
    with house_style():
        figures = (draw_samples(vae), draw_interpolations(dataset, vae), draw_traversals(dataset, vae))
        for figure in figures:
            figure.draw_without_rendering()
    rows = [text.get_text().split(",")[0] for text in figure.axes[1].get_yticklabels()]
    assert len(rows) == min(latent_dim, 8)


def test_a_mosaic_has_each_picture_in_its_place():
    pictures = np.linspace(0, 0.5, 6, dtype="f4")[:, None, None].repeat(40, axis=1).repeat(50, axis=2)
    axes = Figure().subplots()
    show_mosaic(axes, pictures, 3)
    image = axes.images[0]
    drawn = image.get_array()
    left, right, bottom, top = image.get_extent()
    for i, picture in enumerate(pictures):
        x, y = (i % 3 - left) / (right - left), (i // 3 - top) / (bottom - top)
        assert drawn[int(y * drawn.shape[0]), int(x * drawn.shape[1])] == pytest.approx(picture[0, 0])
    assert drawn[0, 0] == 1  # a gap
