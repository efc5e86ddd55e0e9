"""How good embeddings of images are: KNN accuracy and structure, against the usual baselines; the report.

`evaluate` compares, `load` opens what was evaluated before, and both return an `Evaluation`.
"""

from typing import TYPE_CHECKING, Any

from vae.errors import ClusterError, Error, StorageError, UsageError

if TYPE_CHECKING:
    from evaluation.api import evaluate, load
    from evaluation.evaluation import Evaluation

__all__ = ["ClusterError", "Error", "Evaluation", "StorageError", "UsageError", "evaluate", "load"]


def __getattr__(name: str) -> Any:
    # Not at the top of the file: the API loads torch and scikit-learn, which takes seconds.
    if name in ("evaluate", "load", "Evaluation"):
        from evaluation import api

        return getattr(api, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
