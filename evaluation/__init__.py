"""How good embeddings of images are: KNN accuracy and structure, against the usual baselines; the report.

`evaluate` compares, `load` opens what was evaluated before, and both return an `Evaluation`.
"""

from typing import TYPE_CHECKING

from vae.errors import ClusterError, Error, StorageError, UsageError
from vae.lazy import lazy_attributes

if TYPE_CHECKING:
    from evaluation.api import evaluate, load
    from evaluation.evaluation import Evaluation
else:
    __getattr__, __dir__ = lazy_attributes(
        __name__,
        {"Evaluation": "evaluation.evaluation", "evaluate": "evaluation.api", "load": "evaluation.api"},
    )

__all__ = ["ClusterError", "Error", "Evaluation", "StorageError", "UsageError", "evaluate", "load"]
