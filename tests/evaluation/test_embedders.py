"""One contract for every method, and what is particular to each."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from evaluation.embedders import METHODS, EmbeddingKey, Pca, Raw, Umap, Vae
from evaluation.knn import knn_accuracy
from vae.checkpoint import save_model
from vae.config import Config
from vae.errors import UserError
from vae.inference import embed
from vae.models import build_model


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoint")
    config = Config.from_params({"latent_dim": 3, "width": 0.1})
    save_model(directory, build_model(config.model, (1, 8, 8), seed=1), config)
    return Vae("a-trial", directory, 3)


EMBEDDERS = {
    "raw": lambda vae: Raw(64),
    "pca": lambda vae: Pca((5, 2)),
    "umap": lambda vae: Umap((2, 3), seed=1),
    "vae": lambda vae: vae,
}


@pytest.fixture(scope="module", params=EMBEDDERS)
def embedder(request, vae):
    return EMBEDDERS[request.param](vae)


@pytest.fixture(scope="module")
def embeddings(embedder, images):
    return list(embedder.embeddings(images, "cpu"))


def test_the_contract_is_run_on_every_method():
    assert EMBEDDERS.keys() == METHODS.keys()


def test_it_gives_the_embeddings_that_it_announces_in_order(embedder, embeddings):
    assert [embedding.key for embedding in embeddings] == list(embedder.keys)


def test_points_are_finite_float32_row_for_row(embeddings, images):
    for embedding in embeddings:
        assert embedding.train.shape == (len(images.train), embedding.key.dim)
        assert embedding.test.shape == (len(images.test), embedding.key.dim)
        assert embedding.train.dtype == embedding.test.dtype == np.float32
        assert embedding.finite


def test_nothing_is_fitted_on_the_test_images(embedder, embeddings, images):
    other = replace(images, test=255 - images.test[:50], test_labels=images.test_labels[:50])
    for embedding, with_other_test in zip(embeddings, embedder.embeddings(other, "cpu"), strict=True):
        np.testing.assert_array_equal(with_other_test.train, embedding.train)


def test_labels_play_no_part(embedder, embeddings, images):
    unlabelled = replace(images, train_labels=None, test_labels=None)
    first = next(iter(embedder.embeddings(unlabelled, "cpu")))
    np.testing.assert_array_equal(first.test, embeddings[0].test)


def test_raw_is_the_pixels_between_0_and_1(images):
    embedding = next(Raw(64).embeddings(images))
    np.testing.assert_array_equal(embedding.train, images.train.reshape(-1, 64) / np.float32(255))


def test_one_pca_serves_every_dimension(images):
    train, test = images.pixels()
    for embedding in Pca((2, 7, 20)).embeddings(images):
        own = PCA(embedding.key.dim, svd_solver="full").fit(train.astype(np.float64))
        sign = np.sign((own.transform(train)[:50] * embedding.train[:50]).sum(0))
        np.testing.assert_allclose(embedding.test, own.transform(test) * sign, atol=1e-3)


def test_umap_places_test_images_among_their_class(images):
    for embedding in Umap((2, 10)).embeddings(images):
        accuracy = knn_accuracy(embedding.train, images.train_labels, embedding.test, images.test_labels)
        assert accuracy > 0.95  # raw pixels reach 0.98 to 0.99


def test_a_vae_gives_its_posterior_means(vae, images):
    config = Config.from_params({"latent_dim": 3, "width": 0.1})
    model = build_model(config.model, (1, 8, 8), seed=1).eval()
    embedding = next(vae.embeddings(images))
    np.testing.assert_allclose(embedding.test, embed(model, torch.tensor(images.test)).numpy(), atol=1e-6)


def test_a_vae_for_other_images_is_refused(vae, images):
    wide = replace(images, train=np.zeros((4, 3, 8, 8), np.uint8))
    with pytest.raises(
        UserError, match=r"takes images of shape \(1, 8, 8\) \(C, H, W\), the dataset has \(3, 8, 8\)"
    ):
        next(vae.embeddings(wide))


def test_an_embedding_is_named_after_its_method_trial_and_dimension():
    assert str(EmbeddingKey("pca", 10)) == "pca 10-d"
    assert str(EmbeddingKey("vae", 10, "0001-fc")) == "vae-0001-fc 10-d"
