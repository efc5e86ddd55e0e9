"""What an evaluation is of: a study's finalists, bare checkpoints, or an embedding in a Parquet file."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.embedders import Embedder, Images, SearchedRows, Vae
from evaluation.embedders.precomputed import PrecomputedEmbedder, read_precomputed
from evaluation.pipeline.plan import Options, best_first, plan_embedders, replica_embedders, vae_embedder
from evaluation.record import EvaluatedDataset, EvaluationRecord
from tune.storage.run_directory import RunDirectory
from tune.study.images import load_images
from tune.study.ranking import choose_finalists, current_seeds, rank_finalists
from tune.study.state import StudyState
from vae.checkpoint import MODEL_FILE, read_header

if TYPE_CHECKING:
    from vae.data import Dataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What one evaluation is of."""

    images: Images
    embedders: tuple[Embedder, ...]
    record: EvaluationRecord
    """What `evaluation.json` will say of it; time and gaps are not known yet."""
    dataset: "Dataset | None" = None
    """The images for figures and report; None if there are only points."""


def study_subject(run: RunDirectory, options: Options, finalists: int, data_dir: Path | None) -> Subject:
    """Return the best trials of a study, and the baselines on its dataset.

    Where finalists were trained anew with fresh seeds, those trainings are evaluated too and, if all of them
    were, decide which finalist comes first.

    Only trials that ran their full budget count. ``data_dir`` is where the dataset lies, if not where the
    search found it.

    Raises
    ------
    UsageError
        There is nothing to evaluate, the dataset is another one, or the options do not fit it.
    StorageError
        A file cannot be read.
    """
    study = run.read_study()
    per_dim = options.finalists_per_dim
    trial_ids = choose_finalists(run, study.mode, finalists, per_dim=per_dim) if options.wants_vaes else []
    trial_ids = rank_finalists(trial_ids, current_seeds(run, study.max_epochs), study.mode)
    described = study.dataset if data_dir is None else replace(study.dataset, data_dir=str(data_dir))
    dataset = load_images(run, described)
    vaes = [vae_embedder(trial_id, run.checkpoint_dir(trial_id), dataset) for trial_id in trial_ids]
    replicas = replica_embedders(run, vaes)
    found = _subject_of_vaes(run, study.name, dataset, vaes, replicas, options, study.max_epochs)
    return replace(
        found,
        images=replace(found.images, searched=searched_rows(dataset, study.seed)),
        record=replace(found.record, finalists_asked=finalists, finalists_per_dim=per_dim),
    )


def searched_rows(dataset: "Dataset", seed: int) -> SearchedRows:
    """Return the rows of the training set that a study with this seed measures KNN accuracy on."""
    # Not at the top of the file: torch takes seconds.
    from vae.data.splits import split_validation
    from vae.metrics.validation_knn import sample_rows

    split = split_validation(dataset.train, seed=seed)
    reference, validation = sample_rows(split.train, seed), sample_rows(split.validation, seed)
    return SearchedRows(
        seed=seed,
        reference=split.train_index.numpy()[reference],
        validation=split.validation_index.numpy()[validation],
    )


def checkpoints_subject(
    checkpoints: Sequence[Path], dataset: "Dataset", output: RunDirectory, options: Options
) -> Subject:
    """Return checkpoints that belong to no study; each is named after its directory.

    The best by its validation metrics comes first, see `best_first`.

    Raises
    ------
    UsageError
        A checkpoint is for other images, or the options do not fit the dataset.
    StorageError
        A checkpoint is damaged.
    """
    paths = best_first([checkpoint.absolute() for checkpoint in checkpoints])
    vaes = [vae_embedder(path.name, path, dataset) for path in paths]
    for path in paths:
        if read_header(path / MODEL_FILE).get("dataset") not in (None, dataset.fingerprint):
            logger.warning("%s was trained on other images than those of %s", path, dataset.name)
    return _subject_of_vaes(output, output.path.name, dataset, vaes, [], options)


def precomputed_subject(file: Path, output: RunDirectory) -> Subject:
    """Return an embedding that a Parquet file holds (`evaluation.embedders.precomputed`), under its name.

    Raises
    ------
    UsageError
        The file does not hold an embedding.
    StorageError
        The file cannot be read.
    """
    found = read_precomputed(file)
    return Subject(
        images=found.images,
        embedders=(PrecomputedEmbedder(found.embedding),),
        record=EvaluationRecord(
            study=output.path.name,
            dataset=EvaluatedDataset(
                name=file.stem, fingerprint=found.fingerprint, class_names=found.class_names
            ),
        ),
    )


def _subject_of_vaes(
    run: RunDirectory,
    study: str,
    dataset: "Dataset",
    vaes: Sequence[Vae],
    replicas: Sequence[Vae],
    options: Options,
    max_epochs: float | None = None,
) -> Subject:
    return Subject(
        images=Images.from_dataset(dataset),
        embedders=tuple(plan_embedders(dataset, vaes, options, replicas)),
        record=EvaluationRecord(
            study=study,
            dataset=EvaluatedDataset(
                name=dataset.name,
                fingerprint=dataset.fingerprint,
                class_names=tuple(dataset.class_names),
                resize=dataset.resize,
            ),
            finalists=tuple(vae.trial_id for vae in vaes),
            training_seeds={vae.trial_id: vae.training_seed for vae in vaes if vae.training_seed is not None},
            trained_with_labels=tuple(vae.trial_id for vae in vaes if vae.conditional),
            checkpoints={vae.trial_id: run.location_of(vae.checkpoint.directory) for vae in vaes},
            state=StudyState.of({vae.trial_id: vae.checkpoint.directory for vae in vaes}, max_epochs),
        ),
        dataset=dataset,
    )
