"""A VAE in scikit-learn: its own checks of an estimator, pipelines, and the parameters that a VAE has."""

import inspect

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

import vae
from vae import VAEEmbedding
from vae.config import PARAMS

SMALL = {"latent_dim": 2, "width": 0.1, "max_epochs": 1, "batch_size": 8, "device": "cpu"}
NO_IMAGES = "its X has 1 to 20 features, which are no image of at least 8×8 pixels; `OfAnyNumbers` passes it"
RULED_OUT = (
    "check_fit_score_takes_y",
    "check_estimators_overwrite_params",
    "check_dont_overwrite_parameters",
    "check_estimators_fit_returns_self",
    "check_readonly_memmap_input",
    "check_n_features_in_after_fitting",
    "check_positive_only_tag_during_fit",
    "check_estimators_dtypes",
    "check_dtype_object",
    "check_pipeline_consistency",
    "check_estimators_nan_inf",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_transformer_data_not_an_array",
    "check_transformer_general",
    "check_transformer_preserve_dtypes",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_dict_unchanged",
    "check_fit_idempotent",
    "check_fit_check_is_fitted",
    "check_n_features_in",
    "check_fit2d_predict1d",
)
"""Checks of scikit-learn that no estimator of images can pass."""


class OfAnyNumbers(VAEEmbedding):
    """The same for rows of any numbers, which it makes images of: for the checks that images rule out."""

    def _images(self, X, *, reset):
        flat = validate_data(self, X, reset=reset, ensure_min_samples=2 if reset else 1)
        tiled = np.resize(flat.T.astype(float), (64, len(flat))).T
        pixels = 255 / (1 + np.exp(-tiled / 10))
        return torch.from_numpy(pixels.astype(np.uint8).reshape(-1, 1, 8, 8))


@parametrize_with_checks(
    [VAEEmbedding(**SMALL)], expected_failed_checks=lambda _: dict.fromkeys(RULED_OUT, NO_IMAGES)
)
def test_scikit_learns_checks_pass_but_for_those_that_images_rule_out(estimator, check):
    check(estimator)


@parametrize_with_checks(
    [OfAnyNumbers(**SMALL)],
    expected_failed_checks=lambda _: {"check_positive_only_tag_during_fit": "it takes negative numbers"},
)
def test_those_pass_once_their_numbers_are_images(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_each_hyperparameter_is_a_parameter_with_the_same_default():
    signature = inspect.signature(VAEEmbedding).parameters
    defaults = {name: signature[name].default for name in signature if name not in ("image_shape", "device")}
    assert defaults == {name: field.default for name, field in PARAMS.items()}


def test_it_embeds_as_a_vae_that_is_trained_on_the_same_images(digits):
    options = {"latent_dim": 3, "width": 0.1, "max_epochs": 1, "device": "cpu"}
    trained = vae.train(digits.images / 16, progress=False, **options)
    ours = VAEEmbedding(**options).fit(digits.data / 16)
    np.testing.assert_array_equal(ours.transform(digits.data / 16), trained.embed(digits.images / 16))
    np.testing.assert_array_equal(ours.transform(digits.images / 16), trained.embed(digits.images / 16))
    latents = np.eye(3)
    np.testing.assert_array_equal(ours.inverse_transform(latents), trained.decode(latents).reshape(3, 64))


def test_images_come_back_in_the_form_that_they_had(digits):
    colour = np.repeat(digits.images[:200, :, :, None] / 16, 3, axis=3)
    fitted = VAEEmbedding(**SMALL).fit(colour)
    assert fitted.image_shape_ == (8, 8, 3)
    assert fitted.inverse_transform(fitted.transform(colour[:4])).shape == (4, 8, 8, 3)
    flat = VAEEmbedding(**SMALL, image_shape=(8, 8, 3)).fit(colour.reshape(200, -1))
    assert flat.inverse_transform(flat.transform(colour[:4])).shape == (4, 192)


def test_it_works_in_a_pipeline_under_cross_validation(digits):
    embedding = VAEEmbedding(latent_dim=8, max_epochs=4, batch_size=64, device="cpu")
    pipeline = make_pipeline(embedding, KNeighborsClassifier())
    assert cross_val_score(pipeline, digits.data / 16, digits.target, cv=2).mean() > 0.7


def test_pandas_columns_are_named(digits):
    frame = VAEEmbedding(**SMALL).set_output(transform="pandas").fit_transform(digits.data[:100] / 16)
    assert frame.columns.tolist() == ["vaeembedding0", "vaeembedding1"]


def test_labels_are_used_by_a_conditional_vae_alone(digits):
    X, y = digits.data[:200] / 16, digits.target[:200]
    assert VAEEmbedding(**SMALL, conditional=True).fit(X, y).model_.model.n_classes == 10
    assert VAEEmbedding(**SMALL).fit(X, y).model_.model.n_classes == 0


def test_a_checkpoint_is_loaded_as_a_fitted_transformer(digits, tmp_path):
    model = vae.train(digits.images / 16, latent_dim=3, width=0.1, max_epochs=2, device="cpu", progress=False)
    model.save(tmp_path)
    loaded = VAEEmbedding.load(tmp_path, device="cpu")
    np.testing.assert_array_equal(loaded.transform(digits.data / 16), model.embed(digits.images / 16))
    again = clone(loaded).set_params(max_epochs=1).fit(digits.data / 16)
    assert again.model_.config.training.schedule_epochs == (1,)


@pytest.mark.parametrize(
    ("options", "X", "message"),
    [
        ({}, np.zeros((20, 63)), "n_features=63, which is no square grey image of 8 to 64 pixels"),
        ({"image_shape": (9, 9)}, np.zeros((20, 64)), "image_shape must have the 64 values of a row of X"),
        ({}, np.full((20, 64), 7.0), "floats must be in [0, 1]"),
        ({"latent_dim": 0}, np.zeros((20, 64)), "latent_dim must be >= 1, got 0"),
    ],
)
def test_a_mistake_is_one_clear_error(options, X, message):
    with pytest.raises(vae.UsageError) as raised:
        VAEEmbedding(**SMALL | options).fit(X)
    assert message in str(raised.value)


def test_images_of_another_size_are_refused(digits):
    fitted = VAEEmbedding(**SMALL).fit(digits.data[:100] / 16)
    with pytest.raises(ValueError, match="X has 81 features, but VAEEmbedding is expecting 64 features"):
        fitted.transform(np.zeros((2, 9, 9)))
