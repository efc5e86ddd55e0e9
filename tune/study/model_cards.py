"""The model cards of a study's kept checkpoints: what the record and the tables say of each trial."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from tune.algorithms.objective import METRIC_NAMES
from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import StudyRecord
from tune.storage.tables import CONFIG_PREFIX, NEUTRAL_PANEL
from tune.storage.trial_status import TrialStatus
from tune.study.ranking import best_first, full_budget_trials
from vae.config import PARAMS, Config, epochs_text
from vae.errors import Error
from vae.model_card import ModelCard, Score, escape, write_card

logger = logging.getLogger(__name__)

CARD_NAMES = METRIC_NAMES | {"val_kl": "KL divergence in nats", "active_units": "active latent dimensions"}
"""What a card calls the metrics of the panel."""
SHARES = ("val_knn_accuracy",)
"""Metrics that are a share of the images that are asked about."""


def write_model_cards(
    run: RunDirectory,
    record: StudyRecord,
    trials: Iterable[Mapping[str, Any]],
    image_shape: tuple[int, int, int],
) -> None:
    """Write the card of each trial that has a checkpoint; what goes wrong is logged, the search is done."""
    rows = list(trials)
    for row in rows:
        if not row["checkpoint"]:
            continue
        try:
            write_card(run.checkpoint_dir(row["trial_id"]), trial_card(record, rows, row, image_shape))
        except (Error, KeyError, TypeError, ValueError) as error:  # a row of another version
            logger.warning("no model card of %s: %s", row["trial_id"], error)


def trial_card(
    record: StudyRecord,
    trials: Iterable[Mapping[str, Any]],
    row: Mapping[str, Any],
    image_shape: tuple[int, int, int],
) -> ModelCard:
    """Return the card of one row of `trials`, with the scores on validation images."""
    rows = list(trials)
    objectives = " and ".join(f"`{name}`" for name in record.objectives)
    ranked = [each["trial_id"] for each in best_first(full_budget_trials(rows, record), record.mode)]
    place = f"number {ranked.index(row['trial_id']) + 1}" if row["trial_id"] in ranked else "not compared"
    if row["status"] != TrialStatus.COMPLETED:
        place += f" ({', '.join(filter(None, (row['status'], row['stop_reason'])))})"
    chosen = [
        f"One of {len(rows)} trials of the search {escape(record.name)}, which compared them by {objectives} "
        f"({'lower' if record.mode == 'min' else 'higher'} is better) on validation images. Among the "
        f"{len(ranked)} with the full budget it is {place}.",
        f"The weights are those of its best epoch, {epochs_text(row['best_epoch'])} of "
        f"{epochs_text(row['epochs'])}. Seed of the search {record.seed}, of the training {row['seed']}. "
        "The search never saw the test images.",
    ]
    return ModelCard(
        name=str(row["trial_id"]),
        config=_config(row),
        image_shape=image_shape,
        resize=record.dataset.resize,
        n_parameters=row["n_parameters"],
        dataset=record.dataset.name,
        fingerprint=record.dataset.fingerprint or None,
        chosen=chosen,
        scores=[
            Score(
                metric=CARD_NAMES[name],
                images="validation, at the search",
                value=float(row[name]),
                n_images=record.knn_queries if name in SHARES else None,
            )
            for name in NEUTRAL_PANEL
            if row.get(name) is not None
        ],
    )


def _config(row: Mapping[str, Any]) -> Config:
    """Return the configuration of a row, in which what another hyperparameter switches off is null."""
    values = {name: row.get(CONFIG_PREFIX + name) for name in PARAMS}
    return Config.from_params({name: value for name, value in values.items() if value is not None})
