"""The architectures by name. Each file gives an `encoder` and a `decoder` for an image shape."""

import torch

from vae.config import ModelConfig
from vae.errors import UsageError
from vae.models import conv, conv1xn, fc, fc_conv, resnet, unet
from vae.models.vae import NO_LABEL, VAE, ImageShape, Posterior, count_parameters

__all__ = [
    "MODELS",
    "NO_LABEL",
    "VAE",
    "ImageShape",
    "Posterior",
    "build_model",
    "check_image_shape",
    "count_parameters",
]

MODELS = {"fc": fc, "fc_conv": fc_conv, "conv": conv, "conv1xn": conv1xn, "unet": unet, "resnet": resnet}


def build_model(config: ModelConfig, image_shape: ImageShape, *, seed: int = 0, n_classes: int = 0) -> VAE:
    """Build a VAE with fresh weights that depend on ``seed`` only.

    ``n_classes`` is that of the labels, if there are any; only a conditional VAE takes notice.

    Raises
    ------
    UsageError
        See `check_image_shape`; or a conditional VAE has no labels.
    """
    check_image_shape(config, image_shape)
    if config.conditional and n_classes < 1:
        raise UsageError("a conditional VAE needs labels, the images have none; leave out conditional")
    n_classes = n_classes if config.conditional else 0
    channels, *size = image_shape
    seen = (channels + bool(n_classes), size[0], size[1])
    architecture = MODELS[config.architecture]
    # torch's initialisers draw from the global generator only, so it is borrowed and given back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VAE(
            architecture.encoder(seen, config.latent_dim, config.width),
            architecture.decoder(image_shape, config.latent_dim + n_classes, config.width),
            image_shape,
            config.latent_dim,
            n_classes=n_classes,
            spherical=config.spherical,
            learned_variance=config.learned_variance,
        )
    return model.to(memory_format=torch.channels_last)


def check_image_shape(config: ModelConfig, image_shape: ImageShape) -> None:
    """Raise a UsageError for images outside 8×8×1 to 64×64×3, or smaller than the latent space."""
    channels, height, width = image_shape
    if not (1 <= channels <= 3 and 8 <= height <= 64 and 8 <= width <= 64):
        raise UsageError(
            f"images must be 8×8 to 64×64 pixels with 1 to 3 channels, got {height}×{width} with {channels}"
        )
    if config.latent_dim > channels * height * width:
        raise UsageError(
            f"latent_dim must be <= {channels * height * width}, the values of one image, "
            f"got {config.latent_dim}"
        )
