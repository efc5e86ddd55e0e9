"""The largest model that a search space can draw: what must fit onto a GPU beside others of its kind."""

from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from typing import Any

from tune.space.domains import Branch, Space, is_number
from vae.config import Config, ModelConfig
from vae.errors import UsageError
from vae.models import ImageShape
from vae.training.gpu_usage import training_floats

ENUMERATED_PARAMS = {*(field.name for field in fields(ModelConfig)), "reconstruction_loss", "precision"}
"""Of these every choice is tried, of other choices the first; of all ranges and numbers the largest."""


def largest_config(space: Space, image_shape: ImageShape, n_classes: int = 0) -> Config:
    """Return the config with the most parameters and activations, as `training_floats` counts them.

    Among equals one with the SSIM loss and one in full precision come first, which take more than that.
    """

    @cache
    def floats(model: ModelConfig, batch_size: int) -> int:
        return training_floats(model, batch_size, image_shape, n_classes)

    def size(config: Config) -> tuple[int, bool, bool]:
        return (
            floats(config.model, config.training.batch_size),
            config.loss.reconstruction_loss == "ssim",
            config.training.precision == "float32",
        )

    return max(_extreme_configs(space), key=size)


def _extreme_configs(space: Space) -> Iterator[Config]:
    decisive = {name for branches in space.entries.values() for branch in branches for name in branch.when}

    def values(name: str, branch: Branch) -> list[Any]:
        examples = branch.domain.examples
        numbers = [value for value in examples if is_number(value, whole=False)]
        if len(numbers) == len(examples):
            named = [
                value
                for branches in space.entries.values()
                for other in branches
                for value in other.when.get(name, ())
                if value in branch.domain
            ]
            return list(dict.fromkeys([max(numbers), *named]))
        return list(examples) if name in ENUMERATED_PARAMS | decisive else [examples[0]]

    def complete(names: list[str], params: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not names:
            yield params
            return
        name, *rest = names
        branch = next((each for each in space.entries[name] if each.applies(params)), None)
        if branch is None:
            yield from complete(rest, params)
            return
        for value in values(name, branch):
            yield from complete(rest, {**params, name: value})

    for params in complete(list(space.entries), {}):
        try:
            yield Config.from_params(params)
        except UsageError:  # values that do not go together; the search would not get far with them either
            continue
