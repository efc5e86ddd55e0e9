import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from vae.config import LossConfig
from vae.losses.balance import Balance
from vae.losses.elbo import (
    bce_loss,
    distortion,
    gaussian_loss,
    kl_per_dimension,
    mse_loss,
    ssim_loss,
    vae_loss,
)
from vae.losses.ssim import ssim
from vae.models import Posterior


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
    similarity = ssim(logits.sigmoid(), images, window=7, reflect=True)
    torch.testing.assert_close(ssim_loss(logits, images, window=7), (1 - similarity.mean()) * 2 * 12 * 13)


def test_ssim_loss_sees_the_frame_of_an_image_as_well_as_its_middle():
    images = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    logits = torch.zeros_like(images).requires_grad_()
    (gradient,) = torch.autograd.grad(ssim_loss(logits, images), logits)
    strength = gradient.square().mean((0, 1)).sqrt()
    assert strength[:2].mean() > 0.5 * strength[12:16, 12:16].mean()


def test_kl_is_the_one_of_torch(batch):
    posterior = batch[2]
    expected = kl_divergence(
        Normal(posterior.mean, (0.5 * posterior.log_variance).exp()), Normal(0.0, 1.0)
    ).mean(0)
    torch.testing.assert_close(kl_per_dimension(posterior), expected)


@pytest.mark.parametrize("name", ["bce", "mse", "ssim"])
def test_the_total_is_the_weighted_sum_of_the_parts(batch, name):
    config = LossConfig(reconstruction_loss=name, image_weight=2.0, kl_weight=0.5, ssim_window=7)
    terms = vae_loss(*batch, config, kl_weight=torch.tensor(0.125))
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


def test_the_learned_variance_gives_the_gaussian_likelihood(batch):
    logits, images, posterior = batch
    log_variance = torch.randn(2, 12, 13, generator=torch.Generator().manual_seed(1)) - 2
    expected = -Normal(logits.sigmoid(), (0.5 * log_variance).exp()).log_prob(images).sum() / 6
    torch.testing.assert_close(gaussian_loss(logits, images, log_variance), expected)
    config = LossConfig(reconstruction_loss="mse")
    terms = vae_loss(logits, images, posterior, config, pixel_log_variance=log_variance)
    torch.testing.assert_close(terms.reconstruction, expected)


def test_the_most_likely_common_variance_is_the_loss_without_a_learned_one(batch):
    logits, images, _ = batch
    variance = (logits.sigmoid() - images).square().mean()
    torch.testing.assert_close(
        gaussian_loss(logits, images, variance.log().expand(2, 12, 13)), mse_loss(logits, images)
    )


def test_free_bits_charge_only_what_is_above_them(batch):
    posterior = batch[2]
    each = kl_per_dimension(posterior)
    free = each.median().item()
    terms = vae_loss(*batch, LossConfig(free_bits=free, kl_weight=1.0))
    torch.testing.assert_close(terms.total, terms.reconstruction + each.clamp_min(free).sum())
    torch.testing.assert_close(terms.kl, each.sum())


@pytest.mark.parametrize("name", ["bce", "mse", "ssim"])
def test_the_distortion_of_a_perfect_reconstruction_is_nothing(batch, name):
    _, images, _ = batch
    config = LossConfig(reconstruction_loss=name, ssim_window=7)
    assert distortion(images.logit(1e-6), images, config).item() == pytest.approx(0, abs=0.01)
    assert distortion(torch.zeros_like(images), images, config) > 1


@pytest.mark.parametrize("name", ["bce", "mse", "ssim"])
def test_the_balance_scales_the_divergence_to_the_distortion(batch, name):
    config = LossConfig(reconstruction_loss=name, balance_losses=True, kl_weight=0.5, ssim_window=7)
    logits, images, posterior = batch
    far = Posterior(3 * posterior.mean, posterior.log_variance)  # more than a nat in each dimension
    terms = vae_loss(logits, images, far, config, balance=Balance())
    torch.testing.assert_close(terms.reconstruction, distortion(logits, images, config))
    torch.testing.assert_close(terms.total, 1.5 * terms.reconstruction)  # its own weight, and half of it
