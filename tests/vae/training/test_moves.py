"""Moved images for the encoder, and the term that holds both posteriors together."""

import pytest
import torch

from vae.config import MOVES, Config
from vae.data import load_dataset
from vae.data.splits import split_validation
from vae.errors import UsageError
from vae.losses.balance import Balance
from vae.losses.elbo import kl_between
from vae.models import Posterior, build_model
from vae.training.loop import train
from vae.training.moves import move_images
from vae.training.step import batch_loss, draw_batch


def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def images():
    return split_validation(load_dataset("digits").train, seed=0).train.subset(torch.arange(90))


def square(height, width):
    """Return 200 equal images with a bright square in the middle."""
    image = torch.zeros(1, 1, height, width)
    image[..., height // 2 - 2 : height // 2 + 2, width // 2 - 2 : width // 2 + 2] = 0.5
    return image.expand(200, -1, -1, -1)


def centre(images):
    """Return the centre of mass of each image (n, 2) in pixels: down, right."""
    image = images[:, 0]
    total = image.sum((1, 2))
    down, right = (torch.arange(n) + 0.5 for n in image.shape[1:])
    return torch.stack(((image.sum(2) @ down) / total, (image.sum(1) @ right) / total), 1)


@pytest.mark.parametrize("strength", [1.0, 2.0])
@pytest.mark.parametrize("shape", [(16, 16), (12, 20)])
def test_shifts_are_of_up_to_a_pixel_times_the_strength_in_both_directions(shape, strength):
    start = square(*shape)
    moved = centre(move_images(start, ["shift"], strength, generator())) - centre(start)
    assert moved.abs().max() <= strength + 1e-4
    assert (moved.amax(0) > 0.8 * strength).all()
    assert (moved.amin(0) < -0.8 * strength).all()


def test_a_flip_mirrors_half_of_the_images():
    images = torch.rand(200, 3, 8, 12, generator=generator())
    moved = move_images(images, ["flip"], 1.0, generator())
    same = torch.isclose(moved, images, atol=1e-5).flatten(1).all(1)
    mirrored = torch.isclose(moved, images.flip(3), atol=1e-5).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 70 < mirrored.sum() < 130


def test_scaling_changes_the_size_and_turning_does_not():
    start = square(16, 16)
    mass = start.sum((1, 2, 3))
    scaled = move_images(start, ["scale"], 4.0, generator()).sum((1, 2, 3)) / mass
    assert 1.3 < scaled.max() < 1.5  # 1.2 in both directions
    assert 0.6 < scaled.min() < 0.8
    turned = move_images(start, ["rotate"], 4.0, generator())
    assert (turned.sum((1, 2, 3)) / mass - 1).abs().max() < 0.05
    assert (turned - start).abs().amax((1, 2, 3)).max() > 0.1


def test_brightness_multiplies_and_never_exceeds_one():
    start = square(8, 8)
    moved = move_images(start, ["brightness"], 1.0, generator()).amax((1, 2, 3))
    assert 0.4 <= moved.min() < 0.41
    assert 0.59 < moved.max() <= 0.6
    assert move_images(start * 2, ["brightness"], 4.0, generator()).max() == 1


def test_the_divergence_is_that_of_torch():
    mean, log_variance = torch.randn(2, 2, 5, 3, generator=generator())
    first, second = (Posterior(mean[i], log_variance[i]) for i in range(2))
    gaussians = [torch.distributions.Normal(p.mean, (0.5 * p.log_variance).exp()) for p in (first, second)]
    expected = torch.distributions.kl_divergence(*gaussians).sum(1).mean()
    torch.testing.assert_close(kl_between(first, second), expected)
    assert kl_between(first, first) == 0


def test_the_target_is_the_unmoved_image_and_the_term_has_its_weight(images):
    params = {"latent_dim": 3, "batch_size": 32, "max_epochs": 1, "moves": "shift,flip"}
    config = Config.from_params(params | {"consistency_weight": 0.3})
    model = build_model(config.model, images.image_shape, seed=0)
    batch = draw_batch(images, torch.arange(32), model, config.training, None, generator())
    torch.testing.assert_close(batch.images, images.images[:32].float() / 255)
    assert not torch.equal(batch.seen, batch.images)
    more = Config.from_params(params | {"consistency_weight": 1.3})
    loss, higher = (batch_loss(model, batch, c, torch.tensor(0.1), Balance()) for c in (config, more))
    expected = kl_between(model.encode(batch.seen), model.encode(batch.images))
    torch.testing.assert_close(higher.total - loss.total, expected, rtol=1e-3, atol=1e-4)
    assert expected > 0


def test_training_makes_latents_less_sensitive_to_moves():
    images = split_validation(load_dataset("digits").train, seed=0).train.subset(torch.arange(600))
    names = MOVES[1:]  # a mirrored digit is another one

    def sensitivity(weight):
        """Return how far moved images are in the latent space, against how far images are."""
        params = {"latent_dim": 4, "width": 0.5, "batch_size": 32, "max_epochs": 10, "learning_rate": 3e-3}
        params |= {"conditional": True, "spherical": True, "moves": ",".join(names)}
        model = train(Config.from_params(params | {"consistency_weight": weight}), images, None).model.eval()
        pixels = images.images.float() / 255
        with torch.no_grad():
            here, there = (model.encode(p).mean for p in (pixels, move_images(pixels, names, 1, generator())))
        return float((there - here).square().sum(1).mean() / here.var(0).sum())

    assert sensitivity(1.0) < 0.7 * sensitivity(1e-6)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"consistency_weight": 0.3},
            "consistency_weight 0.3 needs moves, such as 'shift,scale,rotate', got",
        ),
        ({"moves": "flip"}, "moves 'flip' need a consistency_weight > 0, such as 0.3, got 0"),
        ({"moves": "flop"}, "moves must be one of flip, shift, scale, rotate, brightness, got 'flop'"),
        ({"moves": "flip,flip", "consistency_weight": 1.0}, "moves must name each of its kinds once"),
        ({"move_strength": 0.0}, "move_strength must be > 0 and <= 4, got 0"),
        ({"move_strength": 9.0}, "move_strength must be > 0 and <= 4, got 9"),
        ({"consistency_weight": -1.0}, "consistency_weight must be >= 0, got -1"),
    ],
)
def test_moves_that_mean_nothing_are_refused(params, message):
    with pytest.raises(UsageError, match=message):
        Config.from_params(params)


def test_shifts_beyond_a_quarter_of_the_image_are_refused(images):
    params = {"moves": "shift", "move_strength": 3.0, "consistency_weight": 0.3, "batch_size": 16}
    with pytest.raises(UsageError, match="move_strength must be <= 2 for images of 8x8"):
        train(Config.from_params(params), images, None)
