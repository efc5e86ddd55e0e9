import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from vae.config import ModelConfig
from vae.data import load_dataset
from vae.data.splits import split_validation
from vae.inference import embed
from vae.metrics.validation_knn import ValidationKnn, sample_rows
from vae.models import build_model


@pytest.fixture(scope="module")
def split():
    return split_validation(load_dataset("digits").train, seed=0)


def test_it_is_scikit_learns_accuracy_in_the_latent_means(split):
    model = build_model(ModelConfig(latent_dim=3), split.train.image_shape).eval()
    reference, query = split.train.subset(torch.arange(400)), split.validation
    oracle = KNeighborsClassifier(10, weights="distance")
    oracle.fit(embed(model, reference.images).numpy(), reference.labels.numpy())
    expected = oracle.score(embed(model, query.images).numpy(), query.labels.numpy())
    assert ValidationKnn(reference, query)(model) == pytest.approx(expected)


def test_a_diverged_model_has_no_accuracy(split):
    model = build_model(ModelConfig(latent_dim=3), split.train.image_shape).eval()
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    assert math.isnan(ValidationKnn(split.train, split.validation)(model))


def test_a_small_set_is_not_sampled(split):
    assert np.array_equal(sample_rows(split.train, seed=0), np.arange(len(split.train)))
