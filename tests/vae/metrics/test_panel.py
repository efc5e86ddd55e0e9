import pytest
import pytorch_msssim
import torch

from vae.config import LossConfig, ModelConfig
from vae.inference import embed, reconstruct
from vae.metrics.panel import active_units, evaluate_panel
from vae.models import build_model


@pytest.fixture
def model():
    return build_model(ModelConfig(latent_dim=6), (1, 16, 16)).eval()


@pytest.fixture
def images():
    return torch.randint(
        0, 256, (50, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_the_panel_measures_the_reconstruction_of_the_posterior_mean(model, images):
    panel = evaluate_panel(model, images, LossConfig(), batch_size=16)
    pixels, truth = reconstruct(model, images), images.float() / 255
    mse = (pixels - truth).square().mean()
    assert panel["val_mse"] == pytest.approx(mse.item(), rel=1e-5)
    assert panel["val_psnr"] == pytest.approx(10 * torch.log10(1 / mse).item(), rel=1e-5)
    assert panel["val_ssim"] == pytest.approx(
        pytorch_msssim.ssim(pixels, truth, data_range=1.0).item(), abs=1e-5
    )


def test_the_panel_does_not_depend_on_the_loss_or_the_batches(model, images):
    neutral = ("val_ssim", "val_mse", "val_psnr", "val_kl", "active_units")
    panels = [
        evaluate_panel(model, images, LossConfig(reconstruction_loss=loss), batch_size=batch_size)
        for loss in ("bce", "ssim")
        for batch_size in (7, 50)
    ]
    for panel in panels[1:]:
        assert [panel[name] for name in neutral] == pytest.approx(
            [panels[0][name] for name in neutral], rel=1e-4
        )


def test_active_units_counts_the_dimensions_that_vary():
    means = torch.randn(1000, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [1, 0.2, 0.05, 0, 3]
    )
    assert active_units(means) == 3


def test_embeddings_are_posterior_means_in_order(model, images):
    expected = model.encode(images.float() / 255).mean
    torch.testing.assert_close(embed(model, images, batch_size=7), expected.detach(), atol=1e-5, rtol=1e-5)
