"""Which room may import which, and where Ray may appear."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("vae", "tune", "evaluation")

ALLOWED = {
    # One VAE. What lies directly in a package, errors and configs first, is the room "vae".
    "vae": "vae.commands vae.data vae.metrics vae.models vae.training",
    "vae.commands": "vae vae.data vae.metrics vae.models vae.training",
    "vae.data": "vae",
    "vae.models": "vae",
    "vae.losses": "vae vae.models",
    "vae.metrics": "vae vae.data vae.losses vae.models",
    "vae.training": "vae vae.data vae.losses vae.metrics vae.models",
    # The search.
    "tune": "tune.algorithms tune.callbacks tune.cluster tune.space tune.storage tune.study tune.trials "
    "vae vae.data vae.training",
    "tune.space": "vae vae.models vae.training",
    "tune.storage": "vae",
    "tune.algorithms": "tune.space tune.storage vae",
    "tune.cluster": "tune.storage vae",
    "tune.trials": "tune.algorithms tune.cluster tune.storage vae vae.data vae.metrics vae.models "
    "vae.training",
    "tune.callbacks": "tune.algorithms tune.cluster tune.space tune.storage tune.study tune.trials vae",
    "tune.study": "tune.algorithms tune.cluster tune.space tune.storage tune.trials vae vae.data",
    # The evaluation.
    "evaluation": "evaluation.analysis evaluation.embedders evaluation.export evaluation.pipeline "
    "evaluation.report evaluation.scores tune.space tune.storage tune.study vae vae.data",
    "evaluation.embedders": "evaluation tune.storage vae vae.data vae.metrics vae.models",
    "evaluation.scores": "vae.data vae.metrics",
    "evaluation.pipeline": "evaluation evaluation.embedders evaluation.scores tune.cluster tune.space "
    "tune.storage tune.study vae vae.data vae.metrics",
    "evaluation.analysis": "evaluation evaluation.embedders evaluation.scores tune.algorithms tune.space "
    "tune.storage tune.study vae",
    "evaluation.figures": "evaluation.analysis evaluation.embedders evaluation.scores tune.algorithms "
    "tune.space tune.storage vae vae.data vae.models",
    "evaluation.report": "evaluation evaluation.analysis evaluation.embedders evaluation.figures "
    "evaluation.scores tune.algorithms tune.space tune.storage vae vae.data",
    "evaluation.export": "evaluation.analysis evaluation.embedders evaluation.figures tune.storage vae "
    "vae.data vae.metrics",
}
"""Room -> the rooms that its files may import; their own one always."""

THE_COMMAND = "tune.__main__"
"""`python -m tune search` ends with an evaluation: the one file that looks up, and only within functions."""

RAY_IN_EVALUATION = "evaluation.pipeline.ray_tasks"
RAY_PRIVATE = "tune.cluster.ray_private"
WITHOUT_RAY = (
    "tune.storage",
    "tune.space",
    "tune.study.images",
    "tune.study.ranking",
    "tune.study.study",
    "tune.api",
    "tune.algorithms.objective",
    "tune.algorithms.budget",
)
"""What of `tune` the evaluation reads; like all of `vae` and the rest of `evaluation` it loads no Ray."""

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


def room_of(module: str) -> str:
    """Return the folder that a module of ours lies in: its package, or a room of that."""
    package, _, rest = module.partition(".")
    room = rest.partition(".")[0]
    return f"{package}.{room}" if room and (ROOT / package / room).is_dir() else package


def imports(file: Path) -> list[tuple[str, str, bool]]:
    """Every import of the file as (module, name, whether it stands at the top of the file)."""
    tree = ast.parse(file.read_text())
    found = []
    for node in ast.walk(tree):
        top = node in tree.body
        if isinstance(node, ast.Import):
            found += [(alias.name, "", top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import; imports are absolute here"
            found += [(str(node.module), alias.name, top) for alias in node.names]
    return found


def imported_rooms(file: Path) -> set[str]:
    """The rooms that a file takes something from; `from tune.trials import actor` is of tune.trials."""
    rooms = set()
    for module, name, _ in imports(file):
        if module.partition(".")[0] in PACKAGES:
            whole = f"{module}.{name}"
            rooms.add(room_of(whole if (ROOT / whole.replace(".", "/")).is_dir() else module))
    return rooms


@pytest.mark.parametrize("package", PACKAGES)
def test_every_arrow_between_rooms_is_allowed(package):
    for file in files(package):
        room, taken = room_of(module_name(file)), imported_rooms(file)
        if module_name(file) == THE_COMMAND:
            taken = {each for each in taken if each.partition(".")[0] != "evaluation"}
        forbidden = taken - {room, *ALLOWED[room].split()}
        assert not forbidden, f"{file.relative_to(ROOT)} imports {', '.join(sorted(forbidden))}"


def test_every_allowed_arrow_is_there():
    drawn = {room: set() for room in ALLOWED}
    for package in PACKAGES:
        for file in files(package):
            drawn[room_of(module_name(file))] |= imported_rooms(file)
    for room, allowed in ALLOWED.items():
        assert set(allowed.split()) <= drawn[room], f"{room} no longer imports all that it may"


def test_imports_between_packages_run_one_way():
    order = {package: number for number, package in enumerate(PACKAGES)}
    for room, allowed in ALLOWED.items():
        for other in allowed.split():
            assert order[other.partition(".")[0]] <= order[room.partition(".")[0]]


def test_the_command_imports_the_evaluation_only_when_it_evaluates():
    file = ROOT / "tune" / "__main__.py"
    of_evaluation = [top for module, _, top in imports(file) if module.partition(".")[0] == "evaluation"]
    assert of_evaluation
    assert not any(of_evaluation)


def test_a_room_has_a_dozen_files_at_most():
    for room in {folder.parent for package in PACKAGES for folder in files(package)}:
        if room.name != "figures":  # one figure a file
            modules = [file for file in room.glob("*.py") if file.name != "__init__.py"]
            assert len(modules) <= 13, f"{room.relative_to(ROOT)} has {len(modules)} files"


def test_every_room_says_what_it_is_for():
    for package in PACKAGES:
        for file in files(package):
            if file.name == "__init__.py":
                assert ast.get_docstring(ast.parse(file.read_text())), file.relative_to(ROOT)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_may_not_load_ray_does_not(package):
    modules = [
        name
        for file in files(package)
        if (name := module_name(file)) != RAY_IN_EVALUATION
        and (package != "tune" or name == "tune" or name.startswith(WITHOUT_RAY))
    ]
    assert len(modules) > 5
    command = [sys.executable, "-c", IMPORT_ALL, *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ray_is_named_in_tune_and_in_one_file_of_evaluation():
    naming = {
        module_name(file)
        for package in ("vae", "evaluation")
        for file in files(package)
        for module, *_ in imports(file)
        if module.partition(".")[0] == "ray"
    }
    assert naming == {RAY_IN_EVALUATION}


def is_private(module: str, name: str) -> bool:
    """Whether this is a part of Ray that its own pages do not document."""
    hidden = ("experimental", "core", "_raylet", "_private", "_common", "autoscaler", "dashboard")
    parts = module.split(".")
    return parts[0] == "ray" and (any(part in hidden for part in parts[1:]) or name.startswith("_"))


def test_rays_private_parts_are_named_in_one_file():
    naming = {
        module_name(file)
        for package in PACKAGES
        for file in files(package)
        for module, name, _ in imports(file)
        if is_private(module, name)
    }
    assert naming == {RAY_PRIVATE}


def test_rays_tune_is_never_imported_under_the_name_of_our_package():
    for package in (*PACKAGES, "tests"):
        for file in files(package):
            assert ("ray", "tune") not in [(module, name) for module, name, _ in imports(file)], (
                f"{file.relative_to(ROOT)}: say from ray.tune import ..."
            )
