"""The one number of an evaluation, without all else that its tables say, which takes a tenth of a second."""

from functools import reduce
from operator import and_

import pyarrow.compute as pc

from evaluation.analysis.outdated import outdated
from evaluation.analysis.results import ranked_finalists
from evaluation.record import EvaluationRecord
from evaluation.scores.settings import ALL_IMAGES_K10, KNN_ACCURACY
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import TRIALS, read_rows, read_table
from tune.study.ranking import current_seeds


def winners_test_accuracy(run: RunDirectory) -> float | None:
    """Return the KNN accuracy of a study's best finalist on the test set, at `ALL_IMAGES_K10`.

    It is that of the winner's row in `Results.comparison`; None without an evaluation of the study as it is.

    Raises
    ------
    StorageError
        A file is damaged.
    """
    if not (run.evaluation_file.exists() and run.evaluations_file.exists()):
        return None
    study, evaluation = run.read_study(), EvaluationRecord.read(run.evaluation_file)
    trials = read_rows(run.trials_file, TRIALS)
    seeds = current_seeds(run, study.arguments.get("max_epochs"))
    finalists = ranked_finalists(study, evaluation, trials, seeds)
    if not finalists or outdated(run, study, evaluation, trials):
        return None
    seed = (evaluation.training_seeds or {}).get(finalists[0])
    row = {
        "method": "vae",
        "trial_id": finalists[0],
        "training_seed": seed,
        "protocol": "test",
        "metric": KNN_ACCURACY,
        "samples_per_class": ALL_IMAGES_K10.samples_per_class,
        "n_neighbors": ALL_IMAGES_K10.n_neighbors,
        "weights": ALL_IMAGES_K10.weights,
    }
    conditions = (
        pc.field(n).is_null() if value is None else pc.field(n) == value for n, value in row.items()
    )
    values = read_table(run.evaluations_file).filter(reduce(and_, conditions))["value"].to_pylist()
    return float(values[0]) if values else None
