"""The Dockerfile installs what `make install` installs, from files that are there."""

import re

from tests.cluster.local_config import ROOT

TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
STEPS = [line.split(maxsplit=1) for line in TEXT.splitlines() if line and not line.startswith("#")]


def steps(name):
    return [rest for word, rest in STEPS if word == name]


def test_the_base_has_the_python_of_the_cluster_and_of_the_project():
    [base] = steps("FROM")
    version = re.match(r"python:(\d\.\d+)-slim", base)[1]
    assert f"py{version.replace('.', '')}" in (ROOT / "cluster.yaml").read_text()
    assert f'python_version = "{version}"' in (ROOT / "pyproject.toml").read_text()


def test_the_packages_come_from_the_lock_as_everywhere():
    runs = steps("RUN")
    assert sum(run.endswith("make install") for run in runs) == 1
    assert not any(word in run for run in runs for word in ("pip install", "uv "))
    assert re.search(r"^install: ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_what_is_installed_from_is_there_by_then():
    before, _, after = TEXT.partition("make install\n")
    copied = {
        name for names in re.findall(r"^COPY (.*) \S+$", before, flags=re.MULTILINE) for name in names.split()
    }
    assert {"Makefile", "pyproject.toml", "requirements.lock", "vae", "evaluation", "tune"} <= copied
    assert all((ROOT / name).exists() for name in copied)
    assert "COPY" not in after


def test_what_is_large_or_private_is_not_sent_to_the_engine():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", ".venv", "data", "runs"} <= set(ignored)
    copied = {name for names in steps("COPY") for name in names.split()[:-1]}
    assert not copied & set(ignored)


def test_the_page_says_how_to_use_it():
    page = (ROOT / "docs" / "cluster.md").read_text()
    assert "docker build -t vae-search ." in page
    [directory] = steps("WORKDIR")
    assert f'-v "$PWD/runs:{directory}/runs"' in page
