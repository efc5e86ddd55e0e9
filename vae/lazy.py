"""Attributes of a package that are imported on first use: torch, Ray and Optuna take seconds."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy_attributes(
    package: str, homes: dict[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package with attributes of other modules: name -> module."""

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return load, lambda: sorted({*vars(sys.modules[package]), *homes})
