"""What `import tune` offers, and what it costs."""

import subprocess
import sys
from pathlib import Path

import pytest

import tune

SOURCE = Path(__file__).resolve().parents[2]
LIGHT = """
import os, sys
before = dict(os.environ)
import tune
assert dict(os.environ) == before
try:
    tune.load("nowhere")
except tune.UsageError:
    pass
loaded = {"ray", "optuna"} & sys.modules.keys()
assert not loaded, loaded
"""


def test_every_exported_name_is_there_and_of_this_package():
    for name in tune.__all__:
        member = getattr(tune, name)
        assert member.__module__.startswith(("tune.", "vae.errors")), name
        assert member.__doc__, name
    assert set(tune.__all__) <= set(dir(tune))
    assert tune.__all__ == sorted(tune.__all__)


def test_any_other_name_is_refused():
    with pytest.raises(AttributeError, match="module 'tune' has no attribute 'serach'"):
        _ = tune.serach


def test_the_package_is_typed():
    assert Path(tune.__file__).with_name("py.typed").exists()


def test_the_import_loads_no_ray_and_sets_nothing():
    done = subprocess.run([sys.executable, "-c", LIGHT], cwd=SOURCE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["search", "load", "resume", "extend", "Study"])
def test_every_function_has_an_example(name):
    assert "Examples\n" in getattr(tune, name).__doc__
