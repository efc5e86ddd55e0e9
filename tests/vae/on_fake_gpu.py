"""What must hold on a GPU, on one that is not there: run by `test_fake_gpu.py`, in a process of its own."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from tests.fake_gpu import DEVICE, DeviceMismatch, FakeGpu
from vae.checkpoint import read_tensors
from vae.config import (
    ARCHITECTURES,
    AUGMENTATIONS,
    MOVES,
    OPTIMIZERS,
    PRECISIONS,
    RECONSTRUCTION_LOSSES,
    Config,
)
from vae.data import load_dataset
from vae.data.splits import split_validation
from vae.inference import decode, embed
from vae.metrics.neighbors import find_neighbors
from vae.metrics.panel import evaluate_panel
from vae.metrics.validation_knn import ValidationKnn
from vae.models import build_model
from vae.training.loop import FINITE_CHECK_STEPS, train
from vae.training.state import load_state

SMALL = {"batch_size": 64, "latent_dim": 4, "width": 0.1, "max_epochs": 2, "ssim_window": 5, "seed": 3}
SMALL |= {"schedule": "constant", "learning_rate": 2**-9}  # the same in single precision, as GPUs take it
TIMES = ("epoch_seconds", "validation_seconds", "images_per_second")

AXES = {
    "architecture": ARCHITECTURES,
    "reconstruction_loss": RECONSTRUCTION_LOSSES,
    "augment": ("none", *AUGMENTATIONS),
    "precision": PRECISIONS,
    "optimizer": OPTIMIZERS,
    "option": ("warmup", "conditional", "spherical", "learned_variance", "balance_losses", "moved"),
}
OPTIONS = {
    "conditional": {"conditional": True},
    "spherical": {"spherical": True, "free_bits": 0.5},
    "learned_variance": {"learned_variance": True},
    "balance_losses": {"balance_losses": True},
    "warmup": {"kl_warmup_epochs": 1.5},
    "moved": {"moves": ",".join(MOVES), "consistency_weight": 0.3},
}


def pairs(case):
    return {pair for pair in itertools.combinations(zip(AXES, case, strict=True), 2)}


def is_allowed(case):
    return "mse" in case or "learned_variance" not in case


def every_pair():
    """Return few cases in which every pair of two axes' values appears, wherever it is allowed."""
    possible = [case for case in itertools.product(*AXES.values()) if is_allowed(case)]
    missing = set().union(*map(pairs, possible))
    chosen = []
    draw = np.random.default_rng(0)
    while missing:
        some = [possible[i] for i in draw.integers(len(possible), size=300)]
        # the last pairs are rare among random cases
        some += [case for case in possible if len(missing) < 10 and pairs(case) & missing]
        best = max(some, key=lambda case: len(pairs(case) & missing))
        if pairs(best) & missing:
            chosen.append(best)
            missing -= pairs(best)
    return chosen


@pytest.fixture(scope="module")
def parts():
    split = split_validation(load_dataset("digits").train, seed=0)
    # the last batch of 100 is a short one
    return split.train.subset(torch.arange(100)), split.validation.subset(torch.arange(50))


def train_on_gpu(config, parts, gpu, knn=None):
    """Train two epochs and return the result; the waits are those of the second, as of all later ones."""

    def forget_the_first(end):
        if end.epoch == 1:
            gpu.waits.clear()

    train_part, validation = parts
    return train(config, train_part, validation, device=DEVICE, knn=knn, on_report=forget_the_first)


def measured(result):
    return [{name: value for name, value in m.items() if name not in TIMES} for m in result.history]


def as_in(result):
    """What `measured` must equal.

    Singular values depend on how the points lie in memory; RMSprop that can be captured computes otherwise.
    """
    rel = 0.02 if result.config.training.optimizer == "rmsprop" else 1e-12
    return [pytest.approx(metrics, rel=rel, nan_ok=True) for metrics in measured(result)]


NEIGHBORS = Counter(scores=7)
"""Both sides are looked at, the references gathered, index and distance copied, and both sides."""
UNLABELLED = Counter(scores=3) + NEIGHBORS
AN_EPOCH = Counter(_train_until=1, panel_and_means=1) + UNLABELLED
"""Waits, by function: all of them at its end."""


def waits_by_function(gpu):
    """Return how often the steps waited, the panel, and the scores of the latent means."""
    functions = [wait.function for wait in gpu.waits]
    return Counter(name if name in ("_train_until", "panel_and_means") else "scores" for name in functions)


@pytest.mark.parametrize("case", every_pair(), ids="-".join)
def test_every_pair_of_settings_trains_as_on_the_cpu_and_waits_only_at_the_end_of_an_epoch(parts, case):
    params = dict(zip(AXES, case, strict=True))
    config = Config.from_params(SMALL | OPTIONS[params.pop("option")] | params)
    with FakeGpu() as gpu:
        result = train_on_gpu(config, parts, gpu)
    assert {parameter.device.type for parameter in result.model.parameters()} == {DEVICE}
    assert waits_by_function(gpu) == AN_EPOCH
    assert measured(result) == as_in(train(config, *parts))


def test_a_long_epoch_waits_once_in_fifty_steps(parts):
    train_part, validation = parts
    config = Config.from_params(SMALL | {"batch_size": 2, "max_epochs": 1})
    with FakeGpu() as gpu:
        train(config, train_part, validation, device=DEVICE)
    steps = len(train_part) // 2
    waits = [wait.operation for wait in gpu.waits if wait.function in ("_train_epoch", "_train_until")]
    assert waits == ["item"] * (steps // FINITE_CHECK_STEPS) + ["tolist"]


def test_what_is_constant_is_copied_to_the_gpu_once(parts):
    config = Config.from_params(SMALL | {"reconstruction_loss": "ssim", "augment": ",".join(AUGMENTATIONS)})
    train_part, validation = parts
    with FakeGpu() as gpu:
        train(config, train_part.to(DEVICE), validation.to(DEVICE), device=DEVICE)
        gpu.waits.clear()
        train(config, train_part.to(DEVICE), validation.to(DEVICE), device=DEVICE)
    assert not {wait.function for wait in gpu.waits} & {"_grids", "_band", "update"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_embeds_decodes_and_is_measured_on_the_gpu_as_on_the_cpu(parts, architecture):
    _, validation = parts
    config = Config.from_params(SMALL | {"architecture": architecture})
    model = build_model(config.model, validation.image_shape)
    latents = embed(model, validation.images)
    images = decode(model, latents)
    panel = evaluate_panel(model, validation.images, config.loss)
    with FakeGpu() as gpu:
        model.to(DEVICE)
        there = validation.to(DEVICE)
        gpu.waits.clear()
        embedded = embed(model, there.images, batch_size=20)
        decoded = decode(model, embedded, batch_size=20)
        assert gpu.waits == []
        assert evaluate_panel(model, there.images, config.loss) == panel
        assert waits_by_function(gpu) == {"panel_and_means": 1}
        torch.testing.assert_close(embedded.cpu(), latents)
        torch.testing.assert_close(decoded.cpu(), images)


@pytest.mark.parametrize("dim", [2, 10])
def test_neighbours_on_the_gpu_are_those_of_scikit_learn(dim):
    draw = np.random.default_rng(0)
    # whole numbers have many equal distances, and duplicates
    reference, query = (draw.integers(4, size=(n, dim)).astype(np.float32) for n in (300, 40))
    expected = find_neighbors(reference, query, 10, backend="numpy")
    with FakeGpu() as gpu:
        there = [torch.from_numpy(points).to(DEVICE) for points in (reference, query)]
        gpu.waits.clear()
        found = find_neighbors(*there, 10)
    np.testing.assert_array_equal(found.index, expected.index)
    np.testing.assert_array_equal(found.distance, expected.distance)
    assert waits_by_function(gpu) == NEIGHBORS  # however many queries have equal distances


def test_the_knn_accuracy_of_an_epoch_is_that_of_the_cpu(parts):
    config = Config.from_params(SMALL)
    on_cpu = train(config, *parts, knn=ValidationKnn(*parts))
    with FakeGpu() as gpu:
        knn = ValidationKnn(*(part.to(DEVICE) for part in parts))
        result = train_on_gpu(config, parts, gpu, knn)
    assert measured(result) == as_in(on_cpu)
    finite_and_labels = Counter(scores=2 + 2)
    assert waits_by_function(gpu) == AN_EPOCH + NEIGHBORS + finite_and_labels


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
def test_a_training_that_is_resumed_on_the_gpu_ends_as_one_that_never_stopped(
    parts, tmp_path, monkeypatch, optimizer
):
    config = Config.from_params(
        SMALL | {"architecture": "conv", "optimizer": optimizer, "balance_losses": True}
    )

    def stop_after_one(end):
        end.state.save(tmp_path)
        return end.epoch == 1

    with FakeGpu():
        whole = train(config, *parts, device=DEVICE)
        train(config, *parts, device=DEVICE, on_report=stop_after_one)
        monkeypatch.setattr("vae.training.state.read_tensors", read_to_gpu)
        state = load_state(tmp_path, config, DEVICE)
        resumed = train(config, *parts, device=DEVICE, resume_from=state)
        assert measured(resumed) == as_in(whole)[1:]
        for a, b in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
            assert torch.equal(a.cpu(), b.cpu())


def read_to_gpu(path, device):
    """safetensors reads to known devices only."""
    tensors, header = read_tensors(path)
    return {name: tensor.to(device) for name, tensor in tensors.items()}, header


def test_tensors_of_both_devices_do_not_meet():
    with FakeGpu():
        with pytest.raises(DeviceMismatch, match="^add of tensors on the GPU and on the CPU$"):
            torch.ones(3, device=DEVICE) + torch.ones(3)
        with pytest.raises(DeviceMismatch, match="^stack of"):
            torch.stack((torch.ones((), device=DEVICE), torch.ones(())))
        with pytest.raises(DeviceMismatch, match="^randn.* generator of the other device$"):
            torch.randn(3, device=DEVICE, generator=torch.Generator())
        with pytest.raises(TypeError, match="numpy"):
            torch.ones(3, device=DEVICE).numpy()
        doubled = torch.ones(3, device=DEVICE) * torch.tensor(2.0)  # a GPU takes a number from the CPU
        assert doubled.device.type == DEVICE


WAITS = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "if": lambda x: 1 if x.any() else 0,
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "to the GPU": lambda x: torch.ones(3).to(x.device),
    "constant": lambda x: torch.tensor([1, 2], device=x.device),
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 0],
    "index from the CPU": lambda x: x[torch.tensor([0])],
    "equal": lambda x: torch.equal(x, x),
}


@pytest.mark.parametrize("wait", WAITS)
def test_what_waits_for_a_gpu_is_recorded(wait):
    with FakeGpu() as gpu:
        x = torch.ones(3, device=DEVICE)
        assert (x + 1).sum().sqrt().device.type == DEVICE
        assert not gpu.waits
        WAITS[wait](x)
        assert len(gpu.waits) == 1


class Steps(FakeGpu):
    """Records the operations of each step, with the shapes and numbers that they are given."""

    def __init__(self):
        super().__init__()
        self.steps = [[]]

    def dispatch(self, func, args, kwargs):
        name = func.overloadpacket.__name__
        if name == "index_select" and args[0].dtype == torch.uint8:  # the images of the next batch
            self.steps.append([])
        if name != "fill_":  # writes learning rate and KL weight into the tensors that a step reads
            self.steps[-1].append((name, described(args), described(kwargs)))
        return super().dispatch(func, args, kwargs)


def described(value):
    if isinstance(value, torch.Tensor):
        return value.shape, value.dtype, value.device
    if isinstance(value, list | tuple):
        return [described(each) for each in value]
    if isinstance(value, dict):
        return {name: described(each) for name, each in value.items()}
    return value if isinstance(value, int | float | torch.dtype) else type(value)


@pytest.mark.parametrize(
    ("architecture", "optimizer", "loss"),
    zip(ARCHITECTURES, itertools.cycle(OPTIMIZERS), itertools.cycle(RECONSTRUCTION_LOSSES), strict=False),
)
def test_every_step_is_the_same_operations_on_the_same_shapes(parts, architecture, optimizer, loss):
    """So that it can be captured: nothing that changes from step to step is a number in the program."""
    config = Config.from_params(
        SMALL
        | {
            "architecture": architecture,
            "optimizer": optimizer,
            "reconstruction_loss": loss,
            "batch_size": 45,
        }
        | {"augment": ",".join(AUGMENTATIONS), "conditional": True, "balance_losses": True}
        | {"kl_warmup_epochs": 2.0, "schedule": "one_cycle"}
    )
    with Steps() as gpu:
        train_part, validation = parts
        train(config, train_part, validation, device=DEVICE)
    first, second, short = gpu.steps[-3:]
    assert len(first) > 50
    assert first == second
    # the last batch of an epoch is shorter: the same operations, before those at the end of the epoch
    assert [name for name, *_ in short[: len(first)]] == [name for name, *_ in first]
