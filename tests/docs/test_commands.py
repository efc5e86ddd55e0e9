"""Each command of README and docs is one that its program accepts, or is named as one that cannot be run."""

import argparse
import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache

import pytest

from tests.cluster import steps
from tests.docs.pages import ROOT, all_blocks

OURS = ("tune", "evaluation", "vae")
NOT_RUN = {
    "aws s3 sync": "needs an account at AWS",
    "docker build": "needs Docker; tests/cluster/test_dockerfile.py reads the Dockerfile",
    "docker run": "needs Docker and a GPU; its last words are parsed",
    "(cd /tmp && apt-get download prometheus": "downloads a program",
    "/tmp/prometheus/usr/bin/prometheus --config.file": "a server that must be downloaded",
    "cp tune/grafana_dashboard.json": "for Grafana; test_grafana_dashboard.py reads the file",
    "GF_SERVER_HTTP_ADDR=127.0.0.1": "starts Grafana, which must be installed",
    ".venv/bin/tensorboard --logdir": "a server that runs until it is stopped",
    "export RAY_": "a variable of Ray's",
    "python -m tests.benchmarks.label_free": "needs three searches; test_label_free.py runs it small",
}
"""Beginning of a command -> why no test runs or parses it."""


class Parsed(Exception):
    """The arguments were accepted; nothing is run."""


def commands() -> Iterator[tuple[str, str]]:
    """Yield place and text of each command, without its comment."""
    for block in all_blocks("bash"):
        for line in block.text.replace("\\\n", "").splitlines():
            if text := re.sub(r"(^|\s)#.*", "", line).strip():
                yield block.place, " ".join(text.split())


COMMANDS = list(commands())


@pytest.fixture
def parse_only(monkeypatch):
    """Let a program end where it has parsed its arguments."""
    parse = argparse.ArgumentParser.parse_args

    def and_stop(self, args=None, namespace=None):
        raise Parsed(parse(self, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", and_stop)


def program_and_words(command: str) -> tuple[str, list[str]] | None:
    """Return one of our programs and its arguments, also where a Ray job or a container runs it."""
    words = shlex.split(command)
    if words[:2] == [".venv/bin/ray", "exec"] and " -- " in words[-1]:
        words = shlex.split(words[-1].split(" -- ")[1])
    elif words[:2] == ["docker", "run"]:
        words = ["python", "-m", *words[words.index("vae-search") + 1 :]]
    if len(words) > 2 and words[0].endswith("python") and words[1] == "-m" and words[2] in OURS:
        return words[2], words[3:]
    return None


@cache
def make(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True)


def test_our_programs_accept_what_the_pages_pass_to_them(parse_only, capsys):
    found = [(place, *known) for place, text in COMMANDS if (known := program_and_words(text))]
    assert {program for _, program, _ in found} == set(OURS)
    for place, program, words in found:
        main = importlib.import_module(f"{program}.__main__").main
        try:
            main(words)
        except Parsed:
            continue
        except SystemExit:
            pytest.fail(f"{place}: {capsys.readouterr().err}")
        pytest.fail(f"{place}: parsed nothing")


def test_make_knows_the_targets_and_variables():
    variables = re.findall(r"^(\w+) \?=", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for place, text in COMMANDS:
        if text.startswith("make "):
            words = shlex.split(text)[1:]
            assert {word.split("=")[0] for word in words if "=" in word} <= set(variables), place
            done = make(*(word for word in words if "=" not in word))
            assert done.returncode == 0, f"{place}: {done.stderr}"


def test_every_other_command_is_run_by_the_cluster_test_or_named_here():
    of_the_cluster_test = [getattr(steps, name) for name in vars(steps) if name.isupper()]
    used = set()
    for place, text in COMMANDS:
        why_not = [beginning for beginning in NOT_RUN if text.startswith(beginning)]
        used.update(why_not)
        pytest_alone = text.startswith(".venv/bin/python -m pytest ")
        known = why_not or program_and_words(text) or text.startswith("make ") or pytest_alone
        assert known or text in of_the_cluster_test, f"{place}: {text}"
    assert used == set(NOT_RUN), f"in no page any more: {set(NOT_RUN) - used}"
