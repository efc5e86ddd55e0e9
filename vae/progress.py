"""The progress of long work: a bar in a terminal, one line in a notebook."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vae.command_line import plain_console
from vae.training.loop import Report


class CellLine:
    """A line in a notebook's cell, each text in the place of the one before."""

    def __init__(self) -> None:
        self._shown: Any = None

    def show(self, text: str) -> None:
        from IPython.display import Pretty, display  # type: ignore[import-not-found,unused-ignore]

        if self._shown is None:
            self._shown = display(Pretty(text), display_id=True)
        else:
            self._shown.update(Pretty(text))


class EpochProgress(Progress):
    """Shows the epochs of one training, while it is entered; nothing where it could not be replaced.

    Parameters
    ----------
    max_epochs
        Of the training.
    console
        Where it is shown; standard error by default, or the notebook's cell.
    """

    def __init__(self, max_epochs: float, console: Console | None = None) -> None:
        console = console or plain_console(stderr=True)
        super().__init__(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            # In a notebook rich would need ipywidgets.
            disable=not console.is_terminal or console.is_jupyter,
            transient=True,
        )
        self._max_epochs = max_epochs
        self._epochs = self.add_task("", total=max_epochs)
        self._cell = CellLine()

    def show(self, report: Report) -> None:
        """Show an epoch that has ended."""
        names = [name for name in ("val_loss", "val_knn_accuracy") if name in report.metrics]
        text = ", ".join(f"{name} {report.metrics[name]:.4g}" for name in names)
        self.update(self._epochs, completed=report.epoch, description=text)
        if self.console.is_jupyter:
            self._cell.show(f"epoch {report.epoch}/{self._max_epochs}: {text}")
