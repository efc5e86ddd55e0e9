"""What every command of the project shares: one-line errors, exit codes, logging set-up."""

import argparse
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from vae.errors import Error, UsageError, is_out_of_memory, one_line

if TYPE_CHECKING:
    from rich.console import Console

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C


class Parser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` whose usage errors are one line on stderr and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"error: {message} (see `{self.prog} --help`)\n")


def exit_code(error: Error) -> int:
    """Return the exit code of a command that ends with this error."""
    return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILURE


def run(main: Callable[[list[str] | None], int | None]) -> NoReturn:
    """Call `main(None)` and exit with its code; an `Error` or a lack of memory is one line on stderr."""
    try:
        code = main(None)
    except Error as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        code = exit_code(error)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"error: out of memory: {' '.join(str(error).split())[:300]}", file=sys.stderr)
        code = EXIT_FAILURE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = EXIT_INTERRUPTED
    sys.exit(code)


def plain_console(**options: Any) -> "Console":
    """Return a rich console that prints text as it is: ``[x]`` and ``:x:`` in paths and errors are no markup.

    Every console of the project is one of these; what is to be bold or coloured is a `rich.text.Text`.
    """
    from rich.console import Console  # not at the top of the file: --help needs none

    return Console(markup=False, emoji=False, highlight=False, **options)


def configure_logging(verbose: bool) -> None:
    """Send the log to stderr: our progress notes and everyone's warnings; with `verbose` everything."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(asctime)s %(name)s: %(message)s" if verbose else "%(message)s",
        datefmt="%H:%M:%S",
    )
    if not verbose:
        for package in ("vae", "evaluation", "tune"):
            logging.getLogger(package).setLevel(logging.INFO)
