"""Whether an evaluation is of the study as it is: the one place that says what became of its state."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from evaluation.formatting import counted, day
from evaluation.record import EvaluationRecord
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord
from tune.storage.tables import read_state
from tune.storage.trial_status import TrialStatus
from tune.study.ranking import finalist_ids
from tune.study.state import weights_hash

_ROUNDED = timedelta(seconds=1)
"""How much later than it says an evaluation may have ended."""


def outdated(
    run: RunDirectory,
    study: StudyRecord | None,
    evaluation: EvaluationRecord | None,
    trials: Sequence[Mapping[str, Any]],
) -> str | None:
    """Return a sentence if an evaluation is of another state of the study, else None.

    Its finalists, their budget and their weights must be those of today. An evaluation by an older version
    does not say which they were: it counts as long as its finalists have not been trained since.
    """
    if evaluation is None:
        return None
    why = _torn(run, evaluation)
    if study is not None:
        why = why or _other_budget(study, evaluation, trials) or _other_finalists(study, evaluation, trials)
    why = why or _other_weights(run, evaluation)
    if not why:
        return None
    again = f"; `python -m evaluation {run.location}` evaluates the study as it is" if study else ""
    return f"The evaluation of {day(evaluation.created_at or None)} is of an earlier state: {why}{again}."


def _torn(run: RunDirectory, evaluation: EvaluationRecord) -> str | None:
    """Say if a table was written by another evaluation, one that was killed before it wrote its record."""
    if evaluation.state is None:
        return None
    for file in (run.evaluations_file, run.predictions_file):
        if read_state(file) not in (None, evaluation.state.stamp):
            return f"{file.name} was written by a later one that did not end"
    return None


def _other_weights(run: RunDirectory, evaluation: EvaluationRecord) -> str | None:
    if evaluation.state is None:
        return None
    for trial_id, evaluated in evaluation.state.weights.items():
        directory = run.checkpoint_dir(trial_id)
        if not directory.is_dir():  # a bare checkpoint, which stays where it was
            directory = Path((evaluation.checkpoints or {}).get(trial_id, directory))
        if weights_hash(directory) not in (None, evaluated):
            return f"{trial_id} has other weights now"
    return None


def _other_budget(
    study: StudyRecord, evaluation: EvaluationRecord, trials: Sequence[Mapping[str, Any]]
) -> str | None:
    finalists, state = evaluation.finalists or (), evaluation.state
    if state is not None:
        if not finalists or state.max_epochs in (None, study.max_epochs):
            return None
        return (
            f"its trials had a full budget of {counted(state.max_epochs or 0, 'epoch')}, now it is "
            f"{study.max_epochs:.3g}"
        )
    rows = {row["trial_id"]: row for row in trials}
    ended = datetime.fromisoformat(evaluation.created_at) + _ROUNDED if evaluation.created_at else None
    for row in (rows[trial_id] for trial_id in finalists if trial_id in rows):
        later = ended and row["finished_at"] and row["finished_at"] > ended
        if row["status"] != TrialStatus.COMPLETED or later:
            return f"{row['trial_id']} has been trained further"
    return None


def _other_finalists(
    study: StudyRecord, evaluation: EvaluationRecord, trials: Sequence[Mapping[str, Any]]
) -> str | None:
    finalists = evaluation.finalists or ()
    if not (finalists and trials):
        return None
    n, per_dim = evaluation.n_best, evaluation.finalists_per_dim
    best = finalist_ids(trials, study, study.mode, n, per_dim=per_dim)
    new = [trial_id for trial_id in best if trial_id not in finalists]
    if not new:
        return None
    among = f"the best {n} trials" + (" and those of each dimension" if per_dim else "")
    return f"{', '.join(new)} {'is' if len(new) == 1 else 'are'} among {among} now"
