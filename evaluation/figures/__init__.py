"""The pictures of a run directory, one file each, drawn from its tables, embeddings and checkpoints.

A file is named after its figure; `importance` draws what `evaluation.analysis.importance` computes.
"""

from typing import Any

__all__ = ["FIGURES", "write_figures"]


def __getattr__(name: str) -> Any:  # drawing loads matplotlib
    if name in __all__:
        from evaluation.figures import write

        return getattr(write, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
