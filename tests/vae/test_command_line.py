"""What a user sees when a command goes wrong: one line and an exit code."""

import subprocess
import sys

import pytest

from vae.command_line import Parser, run
from vae.errors import StorageError, UsageError


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
