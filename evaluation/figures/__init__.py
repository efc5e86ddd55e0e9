"""The pictures of a run directory, one file each, drawn from its tables, embeddings and checkpoints."""

from evaluation.figures.write import FIGURES, write_figures

__all__ = ["FIGURES", "write_figures"]
