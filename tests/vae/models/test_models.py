import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae.config import ARCHITECTURES, ModelConfig
from vae.errors import UsageError
from vae.models import NO_LABEL, build_model, count_parameters
from vae.models.fc_conv import _FromPoint, _ToPoint


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(8, 64), st.integers(8, 64)),
    latent_dim=st.integers(1, 40),
    width=st.sampled_from([0.1, 0.5]),
)
@settings(max_examples=12, deadline=None)
def test_every_architecture_takes_every_image_shape(architecture, shape, latent_dim, width):
    model = build_model(ModelConfig(architecture=architecture, latent_dim=latent_dim, width=width), shape)
    posterior = model.encode(torch.rand(3, *shape))
    assert posterior.mean.shape == posterior.log_variance.shape == (3, latent_dim)
    assert model.decode(posterior.mean).shape == (3, *shape)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_reach_every_parameter(architecture):
    torch.manual_seed(0)
    model = build_model(ModelConfig(architecture=architecture), (1, 28, 28))
    posterior = model.encode(torch.rand(8, 1, 28, 28))
    (
        model.decode(posterior.sample(torch.randn(8, 10))).sum() + posterior.log_variance.square().sum()
    ).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_fc_conv_has_the_size_of_the_2018_model():
    assert count_parameters(build_model(ModelConfig(architecture="fc_conv"), (1, 28, 28))) == 119_591


def test_fc_conv_computes_the_convolutions_that_it_stores():
    torch.manual_seed(0)
    down, up = _ToPoint(3, 5, (9, 8)), _FromPoint(5, 3, (9, 8))
    image, point = torch.rand(4, 3, 9, 8), torch.rand(4, 5, 1, 1)
    torch.testing.assert_close(down(image), torch.nn.Conv2d.forward(down, image))
    torch.testing.assert_close(up(point), torch.nn.ConvTranspose2d.forward(up, point))


def test_a_conv_of_half_the_width_is_tiny():
    assert count_parameters(build_model(ModelConfig(architecture="conv", width=0.5), (1, 28, 28))) < 120_000


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_conditional_vae_hears_labels_in_both_halves_and_does_without(architecture):
    config = ModelConfig(architecture=architecture, conditional=True, latent_dim=4, width=0.25)
    model = build_model(config, (1, 12, 11), n_classes=3)
    images, latents = torch.rand(2, 1, 12, 11), torch.randn(2, 4)
    zero, one, untold = torch.tensor([0, 0]), torch.tensor([1, 1]), torch.tensor([NO_LABEL] * 2)
    assert not torch.allclose(model.encode(images, zero).mean, model.encode(images, one).mean)
    assert not torch.allclose(model.decode(latents, zero), model.decode(latents, one))
    torch.testing.assert_close(model.encode(images, untold).mean, model.encode(images).mean)
    torch.testing.assert_close(model.decode(latents, untold), model.decode(latents))


def test_the_means_of_a_spherical_vae_lie_on_the_sphere_of_the_prior():
    model = build_model(ModelConfig(latent_dim=16, spherical=True), (1, 28, 28))
    mean, log_variance = model.encode(torch.rand(5, 1, 28, 28))
    torch.testing.assert_close(mean.norm(dim=1), torch.full((5,), 4.0))
    assert log_variance.shape == mean.shape


def test_a_conditional_vae_without_labels_is_refused():
    with pytest.raises(UsageError, match="^a conditional VAE needs labels, the images have none"):
        build_model(ModelConfig(conditional=True), (1, 8, 8))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_but_the_latents_leads_from_the_encoder_to_the_decoder(architecture):
    model = build_model(ModelConfig(architecture=architecture, width=0.25), (1, 16, 16))
    latents = torch.randn(1, 10)
    model.encode(torch.rand(1, 1, 16, 16))
    first = model.decode(latents)
    model.encode(torch.rand(1, 1, 16, 16))
    assert torch.equal(first, model.decode(latents))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_width_scales_the_capacity(architecture):
    sizes = [
        count_parameters(build_model(ModelConfig(architecture=architecture, width=width), (1, 28, 28)))
        for width in (0.5, 1, 2)
    ]
    assert sizes[0] < 0.6 * sizes[1] < 0.36 * sizes[2]


def test_weights_depend_on_the_seed_alone():
    def weights(seed):
        torch.rand(1)  # the global generator has moved on
        return torch.cat([p.flatten() for p in build_model(ModelConfig(), (1, 8, 8), seed=seed).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_building_a_model_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build_model(ModelConfig(), (1, 8, 8), seed=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("shape", "latent_dim", "message"),
    [
        ((1, 7, 28), 10, "images must be 8×8 to 64×64 pixels with 1 to 3 channels, got 7×28 with 1"),
        ((4, 28, 28), 10, "images must be 8×8 to 64×64 pixels with 1 to 3 channels, got 28×28 with 4"),
        ((1, 8, 8), 65, "latent_dim must be <= 64, the values of one image, got 65"),
    ],
)
def test_a_model_that_does_not_fit_its_images_is_refused(shape, latent_dim, message):
    with pytest.raises(UsageError, match="^" + message.replace("(", r"\(")):
        build_model(ModelConfig(latent_dim=latent_dim), shape)
