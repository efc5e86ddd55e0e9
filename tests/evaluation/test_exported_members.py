"""What `import evaluation` offers, and that it costs nothing until it is used."""

import subprocess
import sys
from pathlib import Path

import pytest

import evaluation
from evaluation import api

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "umap", "numba", "ray", "optuna", "sklearn", "matplotlib")


def test_the_exported_members_are_all_there_and_in_order():
    assert evaluation.__all__ == sorted(evaluation.__all__)
    for name in evaluation.__all__:
        assert getattr(evaluation, name).__doc__
    assert set(evaluation.__all__) <= set(dir(evaluation))
    assert (evaluation.evaluate, evaluation.load) == (api.evaluate, api.load)


def test_a_member_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'evaluation' has no attribute 'evaluat'"):
        evaluation.evaluat  # noqa: B018


def test_types_are_exported():
    assert (Path(evaluation.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("code", ["import evaluation", "import evaluation.__main__ as m; m.main(['--help'])"])
def test_importing_it_and_asking_for_help_load_nothing_heavy(code):
    check = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print('heavy:', [m for m in {HEAVY} if m in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", check + code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("heavy: []\n")
