import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from vae.config import LossConfig
from vae.losses import bce_loss, kl_per_dimension, mse_loss, ssim_loss, vae_loss
from vae.models import Posterior
from vae.ssim import ssim


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 2, 12, 13, generator=generator)
    logits = torch.randn(6, 2, 12, 13, generator=generator)
    posterior = Posterior(torch.randn(6, 4, generator=generator), torch.randn(6, 4, generator=generator))
    return logits, images, posterior


def test_bce_is_the_bernoulli_likelihood(batch):
    logits, images, _ = batch
    binary = images.round()
    expected = -Bernoulli(logits=logits).log_prob(binary).sum() / 6
    torch.testing.assert_close(bce_loss(logits, binary), expected)


def test_mse_is_the_gaussian_likelihood_and_no_other_variance_is_better(batch):
    logits, images, _ = batch
    pixels = logits.sigmoid()

    def negative_log_likelihood(scale):
        return -Normal(pixels, scale).log_prob(images).sum() / 6

    best = (pixels - images).square().mean().sqrt()
    torch.testing.assert_close(mse_loss(logits, images), negative_log_likelihood(best))
    assert all(mse_loss(logits, images) < negative_log_likelihood(best * f) for f in (0.9, 1.1))


def test_mse_of_a_perfect_reconstruction_is_finite():
    images = torch.full((2, 1, 8, 8), 0.5)
    assert mse_loss(torch.zeros(2, 1, 8, 8), images).isfinite()


def test_ssim_loss_has_the_scale_of_the_pixels(batch):
    logits, images, _ = batch
    expected = (1 - ssim(logits.sigmoid(), images, window=7).mean()) * 2 * 12 * 13
    torch.testing.assert_close(ssim_loss(logits, images, window=7), expected)


def test_kl_is_the_one_of_torch(batch):
    posterior = batch[2]
    expected = kl_divergence(
        Normal(posterior.mean, (0.5 * posterior.log_variance).exp()), Normal(0.0, 1.0)
    ).mean(0)
    torch.testing.assert_close(kl_per_dimension(posterior), expected)


@pytest.mark.parametrize("name", ["bce", "mse", "ssim"])
def test_the_total_is_the_weighted_sum_of_the_parts(batch, name):
    config = LossConfig(reconstruction_loss=name, image_weight=2.0, kl_weight=0.5, ssim_window=7)
    terms = vae_loss(*batch, config, kl_factor=0.25)
    torch.testing.assert_close(terms.total, 2.0 * terms.reconstruction + 0.125 * terms.kl)


@pytest.mark.parametrize("name", ["bce", "mse", "ssim"])
def test_the_loss_per_image_does_not_depend_on_the_batch_size(batch, name):
    logits, images, posterior = batch
    config = LossConfig(reconstruction_loss=name, ssim_window=7)
    twice = vae_loss(
        logits.repeat(2, 1, 1, 1),
        images.repeat(2, 1, 1, 1),
        Posterior(*(t.repeat(2, 1) for t in posterior)),
        config,
    )
    torch.testing.assert_close(twice.total, vae_loss(logits, images, posterior, config).total)
