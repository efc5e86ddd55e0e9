"""requirements.lock: pinned, hashed, from no particular host, and up to date with pyproject.toml."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# one entry: a pinned name, perhaps a marker, and its continuation lines
ENTRY = re.compile(
    r"^(?P<name>[\w.-]+)(\[[\w,-]+\])?==(?P<version>\S+)[^\n]*\\\n(?P<rest>(    [^\n]*\n)+)", re.M
)


def locked() -> dict[str, list[tuple[str, str]]]:
    """Name -> (version, continuation lines), several where versions differ by Python or system."""
    entries: dict[str, list[tuple[str, str]]] = {}
    for entry in ENTRY.finditer(LOCK):
        entries.setdefault(canonicalize_name(entry["name"]), []).append((entry["version"], entry["rest"]))
    return entries


def test_every_requirement_is_pinned_with_a_hash():
    requirements = [line for line in LOCK.splitlines() if line and line[0] not in " #"]
    entries = [entry for versions in locked().values() for entry in versions]
    assert len(entries) == len(requirements) > 50
    for version, rest in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", rest), version


def test_no_host_is_named():
    assert "://" not in LOCK
    assert "--index-url" not in LOCK
    assert "--find-links" not in LOCK


def test_every_direct_dependency_is_locked_at_a_version_that_it_allows():
    entries = locked()
    for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        requirement = Requirement(text)
        versions = [version for version, _ in entries.get(canonicalize_name(requirement.name), [])]
        assert versions, f"{text} is not locked; run make lock"
        assert all(requirement.specifier.contains(version) for version in versions), (
            f"{text}: {versions}; run make lock"
        )


def test_what_builds_the_project_is_locked_too():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert {canonicalize_name(Requirement(text).name) for text in build} <= set(locked())


@pytest.mark.parametrize(("given", "used"), [(None, "1"), ("0", "0")])
def test_uv_trusts_the_certificates_of_the_system_as_pip_does(given, used):
    environment = {name: value for name, value in os.environ.items() if name != "UV_SYSTEM_CERTS"}
    environment |= {} if given is None else {"UV_SYSTEM_CERTS": given}
    command = ["make", "--silent", "--eval", 'shown: ; @echo "$$UV_SYSTEM_CERTS"', "shown"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == used
