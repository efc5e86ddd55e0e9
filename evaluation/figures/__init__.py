"""The pictures of a run directory, one file each, drawn from its tables, embeddings and checkpoints.

A file is named after its figure; `importance` draws what `evaluation.analysis.importance` computes.
"""

from vae.lazy import lazy_attributes

__all__ = ["FIGURES", "SEARCH_FIGURES", "write_figures"]

__getattr__, __dir__ = lazy_attributes(__name__, dict.fromkeys(__all__, "evaluation.figures.write"))
