import pytest
import pytorch_msssim
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from vae.errors import UsageError
from vae.losses.ssim import largest_window, ssim


@given(
    n=st.integers(1, 4),
    channels=st.integers(1, 3),
    height=st.integers(11, 40),
    width=st.integers(11, 40),
    window=st.sampled_from([3, 5, 7, 11]),
    contrast=st.sampled_from([1.0, 0.3, 1e-3]),
    reflect=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_value_and_gradient_are_those_of_pytorch_msssim(
    n, channels, height, width, window, contrast, reflect, seed
):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, channels, height, width, generator=generator, requires_grad=True)
    y = (x.detach() + contrast * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    ours = ssim(x, y, window=window, reflect=reflect)
    framed = [F.pad(image, [window // 2] * 4, mode="reflect") if reflect else image for image in (x, y)]
    theirs = pytorch_msssim.ssim(*framed, data_range=1.0, size_average=False, win_size=window)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    (our_gradient,) = torch.autograd.grad(ours.sum(), x)
    (their_gradient,) = torch.autograd.grad(theirs.sum(), x)
    torch.testing.assert_close(our_gradient, their_gradient, atol=1e-5, rtol=0)


def test_an_image_is_identical_to_itself():
    x = torch.rand(5, 1, 28, 28)
    torch.testing.assert_close(ssim(x, x), torch.ones(5))


def test_a_window_larger_than_the_image_is_refused():
    with pytest.raises(UsageError, match="ssim_window must be <= 8, the smaller side of the image, got 11"):
        ssim(torch.rand(1, 1, 8, 12), torch.rand(1, 1, 8, 12))


@pytest.mark.parametrize(("size", "window"), [((28, 28), 11), ((8, 8), 7), ((9, 40), 9), ((11, 12), 11)])
def test_the_largest_window_is_odd_and_fits(size, window):
    assert largest_window(*size) == window
