"""Time one training epoch against a DataLoader + PIL + ToTensor loop, and the SSIM loss against BCE.

Run with `make bench`. Everything is timed in turn in one process, round after round, so that the ratios hold
on a machine whose speed drifts; the figures are medians over the rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from PIL import Image
from pytorch_msssim import ssim as reference_ssim
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import CenterCrop, Compose, ToTensor

from vae.config import AUGMENTATIONS, Config
from vae.data import ImageSet, load_dataset
from vae.data.splits import split_validation
from vae.losses.elbo import kl_per_dimension
from vae.models import build_model
from vae.training.loop import train

BATCH_SIZE = 512


class PillowImages(TorchDataset):
    """The images and labels as a classic data set gives them: one PIL image at a time through ToTensor."""

    def __init__(self, images: ImageSet, *, as_in_2018: bool) -> None:
        assert images.labels is not None
        self.images, self.labels = images.images[:, 0], images.labels
        # The 2018 project made this pipeline anew for each image, and arrays of the tensors.
        self.as_in_2018 = as_in_2018
        self.transform = ToTensor()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[object, int]:
        image, label = Image.fromarray(self.images[index].numpy()), int(self.labels[index])
        if self.as_in_2018:
            return Compose([CenterCrop(28), ToTensor()])(image).numpy(), label
        return self.transform(image), label


def classic_epoch(architecture: str, images: ImageSet, *, as_in_2018: bool = False) -> float:
    """Return the seconds of one epoch of the usual loop: same model, loss, optimiser and batch size."""
    model = build_model(Config.from_params({"architecture": architecture}).model, images.image_shape)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loader = DataLoader(PillowImages(images, as_in_2018=as_in_2018), BATCH_SIZE, shuffle=True)
    started = time.perf_counter()
    for batch, _ in loader:
        posterior = model.encode(batch)
        logits = model.decode(posterior.sample(torch.randn_like(posterior.mean)))
        bce = F.binary_cross_entropy_with_logits(logits, batch, reduction="sum") / len(batch)
        loss = bce + kl_per_dimension(posterior).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - started


def our_epoch(params: dict[str, object], images: ImageSet, validation: ImageSet) -> float:
    """Return the seconds that `vae.training.loop.train` spends on the gradient steps of one epoch."""
    config = Config.from_params({"batch_size": BATCH_SIZE, "max_epochs": 1, **params})
    (metrics,) = train(config, images, validation).history
    return len(images) / metrics["images_per_second"]


def pytorch_msssim_epoch(images: ImageSet) -> float:
    """Return the seconds of one epoch of our loop's steps with pytorch-msssim's SSIM as the loss."""
    model = build_model(Config().model, images.image_shape)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    started = time.perf_counter()
    for index in torch.randperm(len(images)).split(BATCH_SIZE):
        batch = images.images[index].float() / 255
        posterior = model.encode(batch)
        pixels = model.decode(posterior.sample(torch.randn_like(posterior.mean))).sigmoid()
        loss = (1 - reference_ssim(pixels, batch, data_range=1.0)) * 784 + kl_per_dimension(posterior).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    split = split_validation(load_dataset("fmnist").train, seed=0)
    few = split.validation.subset(torch.arange(1000))
    ours = partial(our_epoch, images=split.train, validation=few)
    subjects: dict[str, Callable[[], float]] = {
        "fc, the 2018 loader": partial(classic_epoch, "fc", split.train, as_in_2018=True),
        "fc, DataLoader + PIL + ToTensor": partial(classic_epoch, "fc", split.train),
        "fc": lambda: ours({"architecture": "fc"}),
        "fc_conv, the 2018 loader": partial(classic_epoch, "fc_conv", split.train, as_in_2018=True),
        "fc_conv, DataLoader + PIL + ToTensor": partial(classic_epoch, "fc_conv", split.train),
        "fc_conv": lambda: ours({"architecture": "fc_conv"}),
        "fc, mse": lambda: ours({"reconstruction_loss": "mse"}),
        "fc, ssim": lambda: ours({"reconstruction_loss": "ssim"}),
        "fc, pytorch-msssim": partial(pytorch_msssim_epoch, split.train),
        "fc, flip and shift": lambda: ours({"augment": "flip,shift"}),
        "fc, every augmentation": lambda: ours({"augment": ",".join(AUGMENTATIONS)}),
        "fc, bfloat16": lambda: ours({"precision": "bfloat16"}),
        "conv": lambda: ours({"architecture": "conv", "width": 0.5}),
        "conv, bfloat16": lambda: ours({"architecture": "conv", "width": 0.5, "precision": "bfloat16"}),
        "conv1xn": lambda: ours({"architecture": "conv1xn", "width": 0.5}),
        "unet": lambda: ours({"architecture": "unet", "width": 0.5}),
        "resnet": lambda: ours({"architecture": "resnet", "width": 0.5}),
        "resnet, bfloat16": lambda: ours({"architecture": "resnet", "width": 0.5, "precision": "bfloat16"}),
    }
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(arguments.rounds):
        for name, subject in subjects.items():
            seconds[name].append(subject())
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{len(split.train):,} Fashion-MNIST images, batch {BATCH_SIZE}, latent 10")
    print(f"{arguments.threads} threads, {arguments.rounds} rounds, torch {torch.__version__}")
    print(f"{'epoch':40} {'median s':>9} {'min':>7} {'max':>7}")
    for name, values in seconds.items():
        print(f"{name:40} {median[name]:9.2f} {min(values):7.2f} {max(values):7.2f}")
    for name, over in (
        ("fc, the 2018 loader", "fc"),
        ("fc, DataLoader + PIL + ToTensor", "fc"),
        ("fc_conv, the 2018 loader", "fc_conv"),
        ("fc_conv, DataLoader + PIL + ToTensor", "fc_conv"),
        ("fc, ssim", "fc"),
        ("fc, pytorch-msssim", "fc"),
        ("fc, flip and shift", "fc"),
        ("fc, every augmentation", "fc"),
    ):
        print(f"{name} / {over}: {median[name] / median[over]:.2f}")


if __name__ == "__main__":
    main()
