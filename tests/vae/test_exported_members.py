"""What `import vae` offers, and that it costs nothing until it is used."""

import subprocess
import sys
from pathlib import Path

import pytest

import vae

NAMES = [
    *("ClusterError", "Error", "StorageError", "TrainedVAE", "UsageError", "VAEEmbedding", "load"),
    *("load_dataset", "train"),
]


def test_these_names_are_public():
    assert vae.__all__ == NAMES
    assert set(NAMES) <= set(dir(vae))


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_there_and_documented(name):
    assert getattr(vae, name).__doc__


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'vae' has no attribute 'fit'"):
        vae.fit  # noqa: B018


def test_the_types_are_shipped():
    assert (Path(vae.__file__).parent / "py.typed").is_file()


def test_an_import_loads_no_dependency_and_leaves_the_environment_alone():
    script = """
import os, sys
before = dict(os.environ)
import vae
loaded = {"ray", "optuna", "torch", "sklearn", "pandas", "numpy"} & set(sys.modules)
assert not loaded, loaded
vae.UsageError
vae.train
assert "torch" in sys.modules
assert not {"ray", "optuna"} & set(sys.modules)
assert os.environ == before
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
