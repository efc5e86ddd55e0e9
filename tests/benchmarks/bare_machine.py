"""Stand-ins for packages that `vae` imports and a bare machine lacks; to be imported before `vae`."""

import sys
from importlib.util import find_spec
from types import ModuleType
from unittest.mock import MagicMock

NOT_NEEDED = ("safetensors", "PIL")
"""Checkpoints and images on disk; the training itself uses neither."""


def _stand_in(name: str) -> ModuleType:
    module = ModuleType(name)
    module.__getattr__ = lambda attribute: MagicMock(name=f"{name}.{attribute}")  # type: ignore[method-assign]
    return module


MISSING = [name for name in NOT_NEEDED if find_spec(name) is None]
for _name in MISSING:
    sys.modules[_name] = _stand_in(_name)
if "safetensors" in MISSING:
    sys.modules["safetensors.torch"] = _stand_in("safetensors.torch")
