"""The one direction of imports, tune -> evaluation -> vae, and where Ray may appear."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {"vae": {"vae"}, "evaluation": {"evaluation", "vae"}, "tune": {"tune", "evaluation", "vae"}}
WITH_RAY = "tune.cluster"

# one fresh process is enough: what no module loads when all are imported, none loads alone
IMPORT_ALL = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    assert "ray" not in sys.modules, f"{module} imports Ray"
"""


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(file: Path) -> list[tuple[str, str]]:
    """Every import of the file as (module, name), also those inside functions."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import; imports are absolute here"
            found += [(str(node.module), alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize("package", ["vae", "evaluation"])
def test_importing_any_module_but_the_fan_out_leaves_ray_unloaded(package):
    modules = [name for file in files(package) if not (name := module_name(file)).startswith(WITH_RAY)]
    assert len(modules) > 5
    command = [sys.executable, "-c", IMPORT_ALL, *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", ALLOWED)
def test_nothing_points_back(package):
    ours = set(ALLOWED)
    for file in files(package):
        for module, _ in imports(file):
            top = module.partition(".")[0]
            assert top not in ours - ALLOWED[package], f"{file.relative_to(ROOT)} imports {module}"


def test_ray_is_named_in_tune_and_in_one_folder_of_evaluation():
    naming = {
        module_name(file)
        for package in ("vae", "evaluation")
        for file in files(package)
        for module, _ in imports(file)
        if module.partition(".")[0] == "ray"
    }
    assert all(name.startswith(WITH_RAY) for name in naming)


def test_rays_tune_is_never_imported_under_the_name_of_our_package():
    for package in (*ALLOWED, "tests"):
        for file in files(package):
            assert ("ray", "tune") not in imports(file), (
                f"{file.relative_to(ROOT)}: say from ray.tune import ..."
            )
