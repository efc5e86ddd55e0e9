"""What a user sees when a command goes wrong: one line and an exit code."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from vae.command_line import Parser, plain_console, run
from vae.errors import StorageError, UsageError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("kind", "code"), [(UsageError, 2), (StorageError, 1)])
def test_a_users_mistake_is_one_line_on_stderr_with_its_exit_code(capsys, kind, code):
    def main(arguments):
        raise kind("latent_dim must be >= 1,\n got 0")

    with pytest.raises(SystemExit) as stopped:
        run(main)
    assert stopped.value.code == code
    assert capsys.readouterr() == ("", "error: latent_dim must be >= 1, got 0\n")


def test_our_own_bug_keeps_its_traceback():
    def main(arguments):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main)


def test_a_lack_of_memory_is_one_line(capsys):
    def main(arguments):
        raise MemoryError("Unable to allocate 730. GiB for an array")

    with pytest.raises(SystemExit) as stopped:
        run(main)
    assert stopped.value.code == 1
    assert capsys.readouterr() == ("", "error: out of memory: Unable to allocate 730. GiB for an array\n")


@pytest.mark.parametrize(
    "text",
    ["/data/[old]/runs", "[/x]", "[enforce fail at alloc_cpu.cpp:117]", ":fire:/runs", "[bold]a[/bold]"],
)
def test_a_console_prints_paths_and_errors_as_they_are(text):
    out = io.StringIO()
    console = plain_console(file=out, force_terminal=False, width=100)
    console.print(text)
    console.print(text, style="red")
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    console.print(table)
    assert out.getvalue().count(text) == 5


def test_every_console_of_ours_is_plain_and_no_progress_bar_reads_markup():
    sources = [file for package in ("vae", "tune", "evaluation") for file in (ROOT / package).rglob("*.py")]
    assert len(sources) > 100
    for file in sources:
        text = file.read_text()
        assert file.name == "command_line.py" or not re.search(r"\bConsole\(", text), file
        assert 'TextColumn("{task.description}")' not in text, file
        assert not re.search(r"\[/?(bold|red|green|yellow|cyan|dim|italic)\b[^]]*\]", text), file


def test_ctrl_c_ends_with_130():
    def main(arguments):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stopped:
        run(main)
    assert stopped.value.code == 130


@pytest.mark.parametrize("code", [None, 0, 3])
def test_the_code_of_main_is_the_exit_code(code):
    with pytest.raises(SystemExit) as stopped:
        run(lambda arguments: code)
    assert stopped.value.code == code


def test_wrong_usage_is_one_line_with_the_way_to_help(capsys):
    parser = Parser(prog="python -m vae train")
    parser.add_argument("--epochs", type=int)
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(["--epochs", "many"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: argument --epochs: invalid int value: 'many'")
    assert "python -m vae train --help" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("verbose", "shown"), [(False, ["ours", "loud"]), (True, ["ours", "quiet", "loud"])])
def test_our_notes_are_shown_and_other_libraries_only_warn(verbose, shown):
    script = f"""
import logging
from vae.command_line import configure_logging
configure_logging(verbose={verbose})
logging.getLogger("vae.training.loop").info("ours")
logging.getLogger("numba").info("quiet")
logging.getLogger("numba").warning("loud")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert [line.split()[-1] for line in done.stderr.splitlines()] == shown
    assert done.stdout == ""
