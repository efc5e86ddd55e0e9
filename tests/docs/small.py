"""What the examples call when tested: the same search and the same evaluation, with less to do."""

from typing import Any

import evaluation
import tune
from evaluation.pipeline import serial

_search, _evaluate = tune.search, evaluation.evaluate


def search(*data: Any, **options: Any) -> tune.Study:
    """Search with two short trials."""
    return _search(*data, **options | {"trials": 2, "max_epochs": 2})


def evaluate(*study: Any, **options: Any) -> evaluation.Evaluation:
    """Evaluate in this process, which spares the start of Ray's."""
    return _evaluate(*study, **options, compute=serial.compute)
