"""The model cards of a study's finalists, completed with what the evaluation has measured on test images."""

import logging

from evaluation.analysis.results import Results
from evaluation.scores.structure import STRUCTURE
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import TRIALS, read_rows
from tune.study.model_cards import trial_card
from vae.checkpoint import read_config
from vae.errors import Error
from vae.model_card import Score, write_card

logger = logging.getLogger(__name__)

KEPT_NEIGHBORS = ("trustworthiness", "continuity", "neighborhood_recall")
"""What is known of images without labels too."""


def complete_model_cards(run: RunDirectory) -> None:
    """Add the test scores to the cards of the evaluated finalists; a failure is logged."""
    try:
        _complete(run)
    except (Error, KeyError, TypeError, ValueError) as error:  # the evaluation itself is done
        logger.warning("no test scores in the model cards: %s", error)


def _complete(run: RunDirectory) -> None:
    results = Results.read(run)
    if results.study is None or results.evaluation is None or results.outdated:
        return
    trials = read_rows(run.trials_file, TRIALS)
    by_id = {trial["trial_id"]: trial for trial in trials}
    uses = results.evaluation.test_uses or 0
    images = "test" if uses < 2 else f"test, which {uses} evaluations have used"
    for row in results.comparison:
        trial_id = row.key.trial_id
        if row.key.method != "vae" or trial_id is None or trial_id not in by_id:
            continue
        measured = {
            "KNN accuracy, 10 neighbours": row.test,
            "KNN accuracy, 10 neighbours, 500 training images per class": row.few_shot,
        }
        scores = [
            Score(metric=name, images=images, value=value, n_images=results.evaluation.n_test)
            for name, value in measured.items()
            if value is not None
        ]
        scores += [
            Score(metric=score.title, images=images, value=row.structure[name])
            for name, score in STRUCTURE.items()
            if name in KEPT_NEIGHBORS and name in row.structure
        ]
        directory = run.checkpoint_dir(trial_id)
        card = trial_card(results.study, trials, by_id[trial_id], read_config(directory).image_shape)
        write_card(directory, card.with_scores(scores))
