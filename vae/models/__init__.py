"""The architectures by name. Each file gives an `encoder` and a `decoder` for an image shape."""

import torch

from vae.config import ModelConfig
from vae.errors import UserError
from vae.models import conv, fc, fc_conv, resnet
from vae.models.vae import VAE, ImageShape, Posterior, count_parameters

__all__ = ["MODELS", "VAE", "ImageShape", "Posterior", "build_model", "check_image_shape", "count_parameters"]

MODELS = {"fc": fc, "fc_conv": fc_conv, "conv": conv, "resnet": resnet}


def build_model(config: ModelConfig, image_shape: ImageShape, *, seed: int = 0) -> VAE:
    """Build a VAE with fresh weights that depend on ``seed`` only.

    Raises
    ------
    UserError
        See `check_image_shape`.
    """
    check_image_shape(config, image_shape)
    architecture = MODELS[config.architecture]
    # torch's initialisers draw from the global generator only, so it is borrowed and given back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VAE(
            architecture.encoder(image_shape, config.latent_dim, config.width),
            architecture.decoder(image_shape, config.latent_dim, config.width),
            image_shape,
            config.latent_dim,
        )
    return model.to(memory_format=torch.channels_last)


def check_image_shape(config: ModelConfig, image_shape: ImageShape) -> None:
    """Raise a UserError if images are outside 8×8×1 to 64×64×3 or have fewer values than the latent space."""
    channels, height, width = image_shape
    if not (1 <= channels <= 3 and 8 <= height <= 64 and 8 <= width <= 64):
        raise UserError(
            f"images must be 8×8 to 64×64 pixels with 1 to 3 channels, got {height}×{width} with {channels}"
        )
    if config.latent_dim > channels * height * width:
        raise UserError(
            f"latent_dim must be <= {channels * height * width}, the values of one image, "
            f"got {config.latent_dim}"
        )
