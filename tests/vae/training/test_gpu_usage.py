"""What the training of one VAE takes of a GPU."""

import pytest
import torch

from vae.config import Config, ModelConfig
from vae.data import load_dataset
from vae.data.splits import split_validation
from vae.training.gpu_usage import measure_gpu_usage, training_floats

IMAGE_SHAPE = (1, 28, 28)


def floats(*, batch_size=256, **params):
    return training_floats(ModelConfig(**params), batch_size, IMAGE_SHAPE, n_classes=10)


def test_parameters_count_four_times_and_activations_once_for_each_image():
    # fc: images to hidden units to twice the latent dimensions, and back.
    one, two = (floats(architecture="fc", latent_dim=10, batch_size=batch) for batch in (1, 2))
    activations = two - one
    parameters = (one - activations) / 4
    hidden = 400
    weights = 784 * hidden + hidden * 20 + 10 * hidden + hidden * 784
    biases = hidden + 20 + hidden + 784
    assert parameters == weights + biases
    assert activations >= hidden + 20 + hidden + 784


@pytest.mark.parametrize("architecture", ["fc", "fc_conv", "conv", "conv1xn", "unet", "resnet"])
@pytest.mark.parametrize(
    "larger", [{"width": 2.0}, {"latent_dim": 64}, {"batch_size": 512}, {"conditional": True}]
)
def test_what_makes_a_training_larger_is_counted(architecture, larger):
    assert floats(architecture=architecture, **larger) > floats(architecture=architecture)


@pytest.fixture(scope="module")
def digits():
    return split_validation(load_dataset("digits").train, seed=0)


def test_on_a_cpu_it_trains_all_the_same_and_measures_nothing(digits):
    models = []
    config = Config.from_params({"architecture": "fc", "batch_size": 8, "learning_rate": 1e12})
    usage = measure_gpu_usage(
        config,
        digits.train,
        digits.validation,
        device="cpu",
        knn=lambda model, **options: models.append(model) or 0.5,
    )
    assert usage is None
    assert len(models) == 3
    assert all(parameter.isfinite().all() for parameter in models[-1].parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
def test_on_a_gpu_it_measures_memory_and_time(digits):
    small, large = (
        measure_gpu_usage(
            Config.from_params({"architecture": "conv", "width": width, "batch_size": 256}),
            digits.train,
            digits.validation,
        )
        for width in (0.25, 8.0)
    )
    _, total = torch.cuda.mem_get_info()
    for usage in (small, large):
        assert 0 < usage.memory_bytes < usage.total_bytes == total
        assert 0 < usage.busy <= 1
    assert large.memory_bytes > small.memory_bytes
    assert large.busy > small.busy
