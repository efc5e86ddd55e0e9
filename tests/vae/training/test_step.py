"""The loss of a step can be captured; the whole step is looked at in `tests/vae/on_fake_gpu.py`."""

import pytest
import torch

from vae.config import ARCHITECTURES, RECONSTRUCTION_LOSSES, Config
from vae.data import load_dataset
from vae.data.splits import split_validation
from vae.losses.balance import Balance
from vae.models import build_model
from vae.training.augmentation import noise_pool
from vae.training.step import batch_loss, draw_batch

SMALL = {"batch_size": 32, "latent_dim": 4, "width": 0.1, "max_epochs": 1, "ssim_window": 5}
SMALL |= {"augment": "noise", "conditional": True, "spherical": True, "free_bits": 0.1}
SMALL |= {"moves": "flip,shift", "consistency_weight": 0.3}


@pytest.fixture(scope="module")
def images():
    return split_validation(load_dataset("digits").train, seed=0).train.subset(torch.arange(90))


@pytest.mark.filterwarnings("ignore:.*lru_cache")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("loss", RECONSTRUCTION_LOSSES)
def test_the_loss_of_a_batch_is_one_graph(images, architecture, loss):
    config = Config.from_params(
        SMALL | {"architecture": architecture, "reconstruction_loss": loss, "balance_losses": True}
    )
    model = build_model(config.model, images.image_shape, n_classes=images.n_classes)
    generator = torch.Generator().manual_seed(0)
    batch = draw_batch(images, torch.arange(32), model, config.training, noise_pool(generator), generator)
    kl_weight = torch.tensor(0.1)
    expected = batch_loss(model, batch, config, kl_weight, Balance())
    compiled = torch.compile(batch_loss, fullgraph=True, backend="eager")
    with torch._dynamo.config.patch(recompile_limit=100):  # one graph for each of the models
        found = compiled(model, batch, config, kl_weight, Balance())
    torch.testing.assert_close(found.total, expected.total)
