import pytest
import torch

from vae.config import AUGMENTATIONS, TrainingConfig
from vae.errors import UsageError
from vae.training.augmentation import MAX_SHIFT, NOISE, add_noise, apply_geometric, noise_pool


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def images():
    return torch.rand(64, 2, 9, 11, generator=torch.Generator().manual_seed(1))


def shifted(image, dy, dx):
    """Move an image (C, H, W) with black coming in, pixel by pixel."""
    moved = torch.zeros_like(image)
    _, height, width = image.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y + dy < height and 0 <= x + dx < width:
                moved[:, y, x] = image[:, y + dy, x + dx]
    return moved


def near(a, b):
    return torch.allclose(a, b, atol=1e-5)


def test_a_flip_mirrors_half_of_the_images(images, generator):
    moved = apply_geometric(images, ["flip"], generator)
    same = torch.isclose(moved, images, atol=1e-5).flatten(1).all(1)
    mirrored = torch.isclose(moved, images.flip(-1), atol=1e-5).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 16 < same.sum() < 48


def test_a_shift_moves_by_up_to_a_pixel_and_lets_black_in(images, generator):
    steps = range(-MAX_SHIFT, MAX_SHIFT + 1)
    seen = set()
    for image, moved in zip(images, apply_geometric(images, ["shift"], generator), strict=True):
        found = [(dy, dx) for dy in steps for dx in steps if near(moved, shifted(image, dy, dx))]
        assert len(found) == 1
        seen.update(found)
    assert len(seen) == 9


def test_a_rotation_turns_about_the_centre_and_keeps_what_is_there():
    disc = torch.zeros(200, 1, 21, 21)
    y, x = torch.meshgrid(torch.arange(21) - 10, torch.arange(21) - 10, indexing="ij")
    disc[:, 0, (x**2 + y**2) < 49] = 1.0
    turned = apply_geometric(disc, ["rotate"], torch.Generator().manual_seed(0))
    assert (turned - disc).abs().mean() < 0.02  # a disc stays one
    bar = torch.zeros(200, 1, 21, 21)
    bar[:, :, 10] = 1.0
    turned = apply_geometric(bar, ["rotate"], torch.Generator().manual_seed(0))
    assert torch.allclose(turned[:, 0, 10, 10], torch.ones(200), atol=1e-4)
    assert turned[:, 0, 10, 0].min() < 0.5 < turned[:, 0, 10, 0].max()


def test_a_rotation_of_an_oblong_image_does_not_shear_it():
    bar = torch.zeros(50, 1, 12, 40)
    bar[:, :, :, 20] = 1.0
    turned = apply_geometric(bar, ["rotate"], torch.Generator().manual_seed(3))[:, 0]
    columns = (turned * torch.arange(40.0)).sum(2) / turned.sum(2)  # where the bar is, row by row
    slope = (columns[:, 9] - columns[:, 2]) / 7
    assert slope.abs().max() < 0.19  # tan 10° is 0.176
    assert slope.abs().max() > 0.1


def test_noise_is_gaussian_and_stays_within_the_pixels(images, generator):
    grey = torch.full((200, 1, 10, 10), 0.5)
    pool = noise_pool(generator)
    difference = add_noise(grey, pool, generator) - grey
    assert difference.std().item() == pytest.approx(NOISE, rel=0.05)
    assert torch.corrcoef(difference.flatten(1))[0, 1:].abs().max() < 0.4  # each has its own
    noisy = add_noise(images, pool, generator)
    assert noisy.min() >= 0
    assert noisy.max() <= 1


def test_without_names_nothing_is_moved_and_nothing_drawn(images, generator):
    before = generator.get_state()
    assert apply_geometric(images, [], generator) is images
    assert torch.equal(before, generator.get_state())


def test_the_generator_alone_decides(images):
    twice = [apply_geometric(images, AUGMENTATIONS, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*twice)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("filp", "augment must be one of flip, shift, rotate, noise, got 'filp'; did you mean 'flip'?"),
        ("flip,flip", "augment must name each of its kinds once, got 'flip,flip'"),
    ],
)
def test_a_wrong_name_is_refused(augment, message):
    with pytest.raises(UsageError, match="^" + message.replace("?", r"\?")):
        TrainingConfig(augment=augment)
