"""The configurations of a space as things that can be compared, counted and tried once."""

from collections.abc import Hashable, Iterator, Mapping, Set
from itertools import islice
from typing import Any

import numpy as np
import optuna

from tune.space.domains import Space

RANDOM_DRAWS = 1000
"""How often a configuration that has not been tried is looked for at random."""


def identity(space: Space, params: Mapping[str, Any]) -> Hashable:
    """Return what two configurations share if they are the same: the values that apply, floats exactly.

    Examples
    --------
    >>> from tune.space.file import parse_space
    >>> space = parse_space({"latent_dim": {"choice": [2, 4]}, "kl_weight": {"float": [0.1, 1.0]}})
    >>> one = identity(space, {"latent_dim": 2, "kl_weight": 0.5})
    >>> one == identity(space, {"kl_weight": 0.5, "latent_dim": 2})
    True
    >>> one == identity(space, {"latent_dim": 2, "kl_weight": 0.5000001})
    False
    """
    seen: dict[str, Any] = {}
    values = []
    for name, _, branch in space.walk(seen):
        seen[name] = params[name]
        values.append((name, branch.domain.identity(params[name])))
    return tuple(values)


def continuous(space: Space) -> list[str]:
    """Return the hyperparameters with a continuous range: with one of them a space has no end."""
    return [
        name for name, branches in space.entries.items() if any(b.domain.values is None for b in branches)
    ]


def configurations(space: Space) -> Iterator[dict[str, Any]]:
    """Yield every configuration of a space without continuous ranges, one by one; conditions are respected.

    Examples
    --------
    >>> from tune.space.file import parse_space
    >>> space = parse_space(
    ...     {
    ...         "reconstruction_loss": {"choice": ["bce", "ssim"]},
    ...         "ssim_window": {"choice": [5, 7], "when": {"reconstruction_loss": "ssim"}},
    ...     }
    ... )
    >>> for params in configurations(space):
    ...     print(params)
    {'reconstruction_loss': 'bce'}
    {'reconstruction_loss': 'ssim', 'ssim_window': 5}
    {'reconstruction_loss': 'ssim', 'ssim_window': 7}
    """
    entries = list(space.entries.items())

    def complete(params: dict[str, Any], position: int) -> Iterator[dict[str, Any]]:
        if position == len(entries):
            yield params
            return
        name, branches = entries[position]
        branch = next((branch for branch in branches if branch.applies(params)), None)
        if branch is None:
            yield from complete(params, position + 1)
            return
        assert branch.domain.values is not None, f"{name} is continuous"
        for value in branch.domain.values:
            yield from complete(params | {name: value}, position + 1)

    return complete({}, 0)


def at_most(space: Space, n: int) -> int:
    """Return how many configurations a search for ``n`` can try: all of a space that has fewer."""
    return n if continuous(space) else sum(1 for _ in islice(configurations(space), n))


def all_tried(space: Space, tried: Set[Hashable]) -> int | None:
    """Return how many configurations a space has if each `identity` is among those ``tried``, else None."""
    if continuous(space):
        return None
    n = 0
    for params in configurations(space):  # ends at the first that is not
        if identity(space, params) not in tried:
            return None
        n += 1
    return n


def untried(space: Space, tried: Set[Hashable], seed: int) -> dict[str, Any] | None:
    """Return a random configuration that is not among those ``tried``; None where none was found.

    Of a space without continuous ranges one is found if there is any.
    """
    draws = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(RANDOM_DRAWS):
        params = space.sample(draws.ask())
        if identity(space, params) not in tried:
            return params
    if continuous(space):
        return None
    left = (params for params in configurations(space) if identity(space, params) not in tried)
    some = list(islice(left, RANDOM_DRAWS))
    return some[np.random.default_rng(seed).integers(len(some))] if some else None
