"""Search spaces as people write them: YAML, with an error of one line for every mistake.

`tune/space.yaml` is the default and documents the syntax.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tune.space.domains import Branch, Choice, Range, Space, is_number
from vae.config import check_param_name
from vae.errors import StorageError, UsageError

DEFAULT_SPACE = Path(__file__).parents[1] / "space.yaml"
START = "start"
SMALLEST_BATCH = 4
SET_BY_THE_STUDY = {"max_epochs": "--budget or --max-epochs", "schedule_epochs": "--budget", "seed": "--seed"}


def load_space(path: Path = DEFAULT_SPACE) -> Space:
    """Read and check a search space.

    Raises
    ------
    StorageError
        The file cannot be read.
    UsageError
        An entry is wrong: one line with the file, the entry and the rule.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(
            f"cannot read the space file {path}: {getattr(error, 'strerror', None) or error}"
        ) from error
    try:
        return parse_space(yaml.load(text, _Loader))
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path}{line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML: {error}") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def without_start(space: Space) -> Space:
    """Return the space without its starting points."""
    source = {name: entry for name, entry in space.source.items() if name != START}
    return replace(space, start=(), source=source, n_warm=0)


def default_space(n_train: int) -> Space:
    """Return the default space; for few training images all batch sizes are halved until the largest fits.

    Examples
    --------
    >>> default_space(60_000).source["batch_size"]
    {'choice': [128, 256, 512]}
    >>> default_space(200).source["batch_size"]
    {'choice': [32, 64, 128]}
    """
    source = load_space().source
    sizes = source["batch_size"]["choice"]
    divisor = 1
    while max(sizes) // divisor > n_train:
        divisor *= 2
    smaller = {size: max(SMALLEST_BATCH, size // divisor) for size in sizes}
    batches = {"choice": sorted(set(smaller.values()))}
    start = [point | {"batch_size": smaller[point["batch_size"]]} for point in source[START]]
    return parse_space(source | {"batch_size": batches, START: start})


def parse_space(source: Any) -> Space:
    """Make a space from what the YAML holds."""
    if not isinstance(source, dict) or not source:
        raise UsageError(
            "a space is a mapping from hyperparameters to their ranges, such as `latent_dim: {int: [2, 64]}`"
        )
    entries: dict[str, tuple[Branch, ...]] = {}
    for name, value in source.items():
        if name == START:
            continue
        check_param_name(str(name))
        if name in SET_BY_THE_STUDY:
            raise UsageError(f"{name} is not part of the space, it is set by {SET_BY_THE_STUDY[name]}")
        several = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
        entries[name] = tuple(_branch(name, item, entries) for item in (value if several else [value]))
    start = source.get(START) or []
    if not isinstance(start, list) or not all(isinstance(point, dict) for point in start):
        raise UsageError(
            f"{START} must be a list of mappings such as `- {{architecture: fc, latent_dim: 10}}`"
        )
    space = Space(entries, tuple(start), source)
    space.check()
    return space


def _branch(name: str, value: Any, above: Mapping[str, Any]) -> Branch:
    if not isinstance(value, dict):
        return Branch(Choice((value,)), {})
    kinds = [key for key in value if key in ("choice", "int", "float", "value")]
    allowed = {*kinds, "when", *(("log", "step") if kinds and kinds[0] in ("int", "float") else ())}
    unknown = [str(key) for key in value if key not in allowed]
    if len(kinds) != 1 or unknown:
        wrong = f"got '{unknown[0]}'" if unknown else f"got {len(kinds)} of them"
        raise UsageError(
            f"{name}: needs one of choice, int, float, value; may have when (a range also log, step); {wrong}"
        )
    kind = kinds[0]
    domain = (
        Choice((value[kind],))
        if kind == "value"
        else _choice(name, value[kind])
        if kind == "choice"
        else _range(name, kind, value)
    )
    return Branch(domain, _when(name, value.get("when", {}), above))


def _choice(name: str, values: Any) -> Choice:
    if not isinstance(values, list) or not values:
        raise UsageError(f"{name}: choice must be a list with at least one value, got {values!r}")
    for position, value in enumerate(values):
        if value in values[:position]:
            raise UsageError(f"{name}: choice must not repeat a value, got {value!r} twice")
    return Choice(tuple(values))


def _range(name: str, kind: str, entry: Mapping[str, Any]) -> Range:
    whole, bounds = kind == "int", entry[kind]
    word = "whole numbers" if whole else "numbers"
    if (
        not isinstance(bounds, list)
        or len(bounds) != 2
        or not all(is_number(bound, whole) for bound in bounds)
    ):
        raise UsageError(f"{name}: {kind} must be two {word} [low, high], got {bounds!r}")
    low, high = bounds
    log, step = entry.get("log", False), entry.get("step")
    if low >= high:
        hint = f"; for a constant write `{name}: {low}`" if low == high else ""
        raise UsageError(f"{name}: the range [{low}, {high}] is empty, low must be < high{hint}")
    if not isinstance(log, bool):
        raise UsageError(f"{name}: log must be true or false, got {log!r}")
    if log and low <= 0:
        raise UsageError(f"{name}: a log range must start above 0, got {low}")
    if step is not None and not (is_number(step, whole) and 0 < step <= high - low):
        raise UsageError(f"{name}: step must be a positive number up to {high - low}, got {step!r}")
    if log and step is not None:
        raise UsageError(f"{name}: log and step do not go together, take one out")
    if step is not None and whole:
        high = low + (high - low) // step * step  # what Optuna would round to, with a warning
    return Range(low if whole else float(low), high if whole else float(high), log, step, whole)


def _when(name: str, when: Any, above: Mapping[str, tuple[Branch, ...]]) -> dict[str, tuple[Any, ...]]:
    if not isinstance(when, dict):
        raise UsageError(
            f"{name}: when must be a mapping such as {{reconstruction_loss: ssim}}, got {when!r}"
        )
    conditions = {}
    for parent, values in when.items():
        if parent not in above:
            check_param_name(str(parent))
            raise UsageError(f"{name}: when refers to {parent}, which must stand above it in the file")
        conditions[parent] = tuple(values) if isinstance(values, list) else (values,)
        for value in conditions[parent]:
            if not any(value in branch.domain for branch in above[parent]):
                raise UsageError(f"{name}: when refers to {parent}: {value}, which is never drawn")
    return conditions


class _Loader(yaml.SafeLoader):
    """YAML where 1e-3 is a number (PyYAML wants 1.0e-3) and a repeated key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # PyYAML refuses it by itself
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key.value}' stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)
