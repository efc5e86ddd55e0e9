"""One contract for every method, and what is particular to each."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA

from evaluation.embedders import (
    METHODS,
    Checkpoint,
    EmbeddingKey,
    Ensemble,
    Images,
    Pacmap,
    Pca,
    PcaUmap,
    Raw,
    Tsne,
    Umap,
    Untrained,
    Vae,
    VaeUmap,
    label,
)
from evaluation.embedders.ensemble import ensemble_id, n_members
from vae.checkpoint import save_model
from vae.config import Config, ModelConfig
from vae.errors import UsageError
from vae.inference import embed
from vae.metrics.knn import knn_accuracy
from vae.models import build_model


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return write_vae(tmp_path_factory.mktemp("checkpoint"), "a-trial", seed=1)


@pytest.fixture(scope="module")
def other_vae(tmp_path_factory):
    """Another, whose latents are a hundred times as large."""
    return write_vae(tmp_path_factory.mktemp("checkpoint"), "b-trial", latent_dim=5, seed=2, factor=100)


def write_vae(directory, trial_id, *, latent_dim=3, seed=1, factor=1.0):
    config = Config.from_params({"latent_dim": latent_dim, "width": 0.1})
    model = build_model(config.model, (1, 8, 8), seed=seed)
    with torch.no_grad():
        *_, last = (module for module in model.encoder.modules() if isinstance(module, torch.nn.Linear))
        last.weight *= factor
        last.bias *= factor
    save_model(directory, model, config)
    return Vae(trial_id, Checkpoint(directory), latent_dim)


EMBEDDERS = {
    "raw": lambda vae, other: Raw(64),
    "pca": lambda vae, other: Pca((5, 2)),
    "umap": lambda vae, other: Umap((2, 3), seed=1),
    "pca_umap": lambda vae, other: PcaUmap((2, 3), seed=1),
    "tsne": lambda vae, other: Tsne((2, 1), seed=1),
    "pacmap": lambda vae, other: Pacmap((2, 3), seed=1),
    "untrained": lambda vae, other: Untrained(vae),
    "vae": lambda vae, other: vae,
    "vae_umap": lambda vae, other: VaeUmap(vae, (2,), seed=1),
    "ensemble": lambda vae, other: Ensemble((vae, other)),
}


@pytest.fixture(scope="module", params=EMBEDDERS)
def embedder(request, vae, other_vae):
    return EMBEDDERS[request.param](vae, other_vae)


@pytest.fixture(scope="module")
def few_images(few_digits):
    return Images.from_dataset(few_digits)


@pytest.fixture(scope="module")
def embeddings(embedder, few_images):
    return list(embedder.embeddings(few_images, "cpu"))


def test_the_contract_is_run_on_every_method():
    assert EMBEDDERS.keys() == METHODS.keys()


def test_it_gives_the_embeddings_that_it_announces_in_order(embedder, embeddings):
    assert [embedding.key for embedding in embeddings] == list(embedder.keys)


def test_points_are_finite_float32_row_for_row(embeddings, few_images):
    for embedding in embeddings:
        assert embedding.train.shape == (len(few_images.train), embedding.key.dim)
        assert embedding.test.shape == (len(few_images.test), embedding.key.dim)
        assert embedding.train.dtype == embedding.test.dtype == np.float32
        assert embedding.finite


def test_nothing_is_fitted_on_the_test_images(embedder, embeddings, few_images):
    other = replace(few_images, test=255 - few_images.test[:50], test_labels=few_images.test_labels[:50])
    for embedding, with_other_test in zip(embeddings, embedder.embeddings(other, "cpu"), strict=True):
        np.testing.assert_array_equal(with_other_test.train, embedding.train)


def test_labels_play_no_part(embedder, embeddings, few_images):
    unlabelled = replace(few_images, train_labels=None, test_labels=None)
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


@pytest.mark.parametrize(
    "method",
    [Umap((2, 10)), PcaUmap((2,)), Tsne(), Pacmap((2, 10))],
    ids=lambda method: method.keys[0].method,
)
def test_manifold_methods_place_test_images_among_their_class(images, method):
    for embedding in method.embeddings(images):
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
        UsageError, match=r"takes images of shape \(1, 8, 8\) \(C, H, W\), the dataset has \(3, 8, 8\)"
    ):
        next(vae.embeddings(wide))


def test_an_untrained_vae_has_the_weights_that_its_training_began_with(images, tmp_path):
    fresh = build_model(ModelConfig(latent_dim=3, width=0.1), (1, 8, 8), seed=0)
    trained = write_vae(tmp_path, "a-trial", seed=1)
    (embedding,) = Untrained(trained).embeddings(images)
    np.testing.assert_allclose(embedding.test, embed(fresh, torch.tensor(images.test)).numpy(), atol=1e-6)


def test_t_sne_places_each_test_image_on_its_own(few_images):
    together = next(Tsne().embeddings(few_images)).test
    alone = next(Tsne().embeddings(replace(few_images, test=few_images.test[:40]))).test
    far = np.linalg.norm(together[:40] - alone, axis=1) > 0.05 * np.ptp(together, axis=0).max()
    assert far.mean() < 0.1


def test_an_embedding_is_named_after_its_method_trial_and_dimension():
    assert str(EmbeddingKey("pca", 10)) == "pca 10-d"
    assert str(EmbeddingKey("vae", 10, "0001-fc")) == "vae-0001-fc 10-d"


def test_umap_takes_no_more_components_than_the_data_has(few_images):
    few = replace(few_images, train=few_images.train[:40], train_labels=few_images.train_labels[:40])
    embedding = next(PcaUmap((2,)).embeddings(few))
    assert embedding.train.shape == (40, 2)


def test_every_member_of_an_ensemble_counts_alike_in_its_distances(vae, other_vae, images):
    members = [next(member.embeddings(images)) for member in (vae, other_vae)]
    embedding = next(Ensemble((vae, other_vae)).embeddings(images))
    parts = np.split(embedding.train, [3], axis=1)
    for part, member in zip(parts, members, strict=True):
        assert np.mean(pdist(part) ** 2) == pytest.approx(1, rel=0.01)
        ratio = part / member.train  # one number for all dimensions
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    scale = members[1].test / embedding.test[:, 3:]
    np.testing.assert_allclose(scale, members[1].train[0, 0] / embedding.train[0, 3], rtol=1e-4)


def test_a_collapsed_member_adds_nothing_to_an_ensemble(vae, images, tmp_path):
    collapsed = write_vae(tmp_path, "c", factor=0.0)
    embedding = next(Ensemble((vae, collapsed)).embeddings(images))
    assert embedding.finite
    assert np.ptp(embedding.train[:, 3:]) == 0


def test_an_ensemble_is_named_after_its_members(vae, other_vae):
    key = Ensemble((vae, other_vae)).keys[0]
    assert key == EmbeddingKey("ensemble", 8, "a-trial+b-trial")
    assert label(key) == "ensemble of 2 VAEs"


@pytest.mark.parametrize("n", [2, 3, 5, 40])
@pytest.mark.parametrize("name", ["0003-conv-10d", "a+b", "é" * 100], ids=["trial", "plus", "long"])
def test_the_name_of_any_ensemble_fits_a_folder_and_tells_its_size(n, name):
    ids = [f"{i}{name}" for i in range(n)]
    assert n_members(ensemble_id(ids)) == n
    assert len(f"name={EmbeddingKey('ensemble', 9, ensemble_id(ids)).name}".encode()) < 200
    assert ensemble_id(ids) != ensemble_id([*ids[:-1], "another"])
