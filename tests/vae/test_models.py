import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae.config import ARCHITECTURES, ModelConfig
from vae.errors import UserError
from vae.models import build_model, count_parameters
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
    with pytest.raises(UserError, match="^" + message.replace("(", r"\(")):
        build_model(ModelConfig(latent_dim=latent_dim), shape)
