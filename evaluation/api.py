"""Evaluate the finalists of a study, or bare checkpoints, against raw pixels, PCA and UMAP."""

import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console

from evaluation.embedders import METHODS, Embedder, Images, Vae
from evaluation.embedders.precomputed import PrecomputedEmbedder, read_precomputed
from evaluation.pipeline.cache import Entry, find_cache_entries
from evaluation.pipeline.plan import Options, best_first, plan_embedders, replica_embedders, vae_embedder
from evaluation.pipeline.progress import Progress
from evaluation.pipeline.serial import Compute, Event, MissingScore, planned_rounds
from evaluation.report.page import write_report
from evaluation.result_tables import EVALUATIONS, PREDICTIONS
from evaluation.scores.protocols import KnnGrid, missing_cells
from tune.storage.filesystems import SHORT_RETRIES
from tune.storage.lock import exclusive
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import FINALIST_SEEDS, read_frame, write_table
from tune.study.images import load_images
from tune.study.ranking import DEFAULT_FINALISTS, choose_finalists, rank_finalists
from vae.atomic import replaced_directory, write_text
from vae.data import Dataset
from vae.errors import StorageError

logger = logging.getLogger(__name__)


def evaluate_run(
    run: RunDirectory,
    *,
    finalists: int = DEFAULT_FINALISTS,
    data_dir: Path | None = None,
    options: Options | None = None,
    compute: Compute | None = None,
    console: Console | None = None,
) -> None:
    """Evaluate the best trials of a study; the results in its run directory are replaced.

    Where finalists were trained anew with fresh seeds, those trainings are evaluated too and tell which
    finalist comes first.

    Parameters
    ----------
    run
        The study.
    finalists
        How many trials, from the best; only those that ran their full budget count.
    data_dir
        Where the dataset lies, if not where the search found it.
    options
        What is evaluated.
    compute
        How it is carried out; on Ray by default.
    console
        Shows the progress; None is silent.

    Raises
    ------
    UsageError
        There is nothing to evaluate, or the options do not fit the data.
    StorageError
        A file cannot be read or written.
    """
    options = options or Options()
    study = run.read_study()
    trial_ids = choose_finalists(run, study.mode, finalists) if options.wants_vaes else []
    trial_ids = rank_finalists(trial_ids, read_frame(run.finalist_seeds_file, FINALIST_SEEDS), study.mode)
    described = study.dataset
    if data_dir is not None:
        described = replace(described, data_dir=str(data_dir))
    dataset = load_images(run, described)
    vaes = [vae_embedder(trial_id, run.checkpoint_dir(trial_id), dataset) for trial_id in trial_ids]
    _evaluate(run, study.name, dataset, vaes, replica_embedders(run, vaes), options, compute, console)


def evaluate_checkpoints(
    checkpoints: Sequence[Path],
    dataset: Dataset,
    output: RunDirectory,
    *,
    options: Options | None = None,
    compute: Compute | None = None,
    console: Console | None = None,
) -> None:
    """Evaluate checkpoints that belong to no study; each is named after its directory. See `evaluate_run`.

    The best by its validation metrics comes first, see `best_first`.
    """
    named = [checkpoint.absolute() for checkpoint in checkpoints]
    vaes = [vae_embedder(checkpoint.name, checkpoint, dataset) for checkpoint in best_first(named)]
    _evaluate(output, output.path.name, dataset, vaes, [], options or Options(), compute, console)


def _evaluate(
    run: RunDirectory,
    study: str,
    dataset: Dataset,
    vaes: Sequence[Vae],
    replicas: Sequence[Vae],
    options: Options,
    compute: Compute | None,
    console: Console | None,
) -> None:
    _carry_out(
        run,
        study,
        Images.from_dataset(dataset),
        plan_embedders(dataset, vaes, options, replicas),
        options,
        compute,
        console,
        dataset={
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "class_names": dataset.class_names,
        },
        finalists=[vae.trial_id for vae in vaes],
        training_seeds={vae.trial_id: vae.training_seed for vae in vaes},
        trained_with_labels=[vae.trial_id for vae in vaes if vae.conditional],
        checkpoints={vae.trial_id: run.location_of(vae.checkpoint.directory) for vae in vaes},
    )
    write_report(run, dataset)
    run.push()


def evaluate_precomputed(
    path: Path,
    output: RunDirectory,
    *,
    options: Options | None = None,
    compute: Compute | None = None,
    console: Console | None = None,
) -> None:
    """Score an embedding that a Parquet file holds (`evaluation.embedders.precomputed`), under its name.

    Raises
    ------
    UsageError
        The file does not hold an embedding.
    StorageError
        A file cannot be read or written.
    """
    own = read_precomputed(path)
    _carry_out(
        output,
        output.path.name,
        own.images,
        [PrecomputedEmbedder(own.embedding)],
        options or Options(),
        compute,
        console,
        dataset={"name": path.stem, "fingerprint": own.fingerprint, "class_names": own.class_names},
    )
    write_report(output)


def _carry_out(
    run: RunDirectory,
    study: str,
    images: Images,
    embedders: Sequence[Embedder],
    options: Options,
    compute: Compute | None,
    console: Console | None,
    **described: Any,
) -> None:
    """Embed and score alone on this run, and write the tables and the record, with what is ``described``."""
    gaps = _known_gaps(images, options.grid)
    for gap in gaps:
        logger.warning("left out: %s", gap)
    started = time.perf_counter()
    n_rounds = len(planned_rounds(images, options.grid))
    try:
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {run.path}: {error.strerror}") from error
    busy = f"another evaluation of {run.location} is under way; wait for it"
    with ExitStack() as at_end:
        at_end.enter_context(exclusive(run, run.evaluation_lock_file, lambda: busy))
        fingerprint = described["dataset"]["fingerprint"]
        entries = find_cache_entries(run, embedders, fingerprint, options.grid, n_rounds)
        todo = [embedder for embedder, entry in zip(embedders, entries, strict=True) if not entry.done]
        n_there = sum(len(entry.keys) for entry in entries if entry.done)
        if console and n_there:
            console.print(f"{n_there} embeddings are there from an earlier evaluation", highlight=False)
        entry_of = {key: entry for entry in entries for key in entry.keys}
        for entry in entries:
            at_end.callback(entry.give_up)
        for event in _events(compute, images, todo, options, console) if todo else ():
            if event.key in entry_of:
                _take(run, entry_of[event.key], event, images)
            if isinstance(event, MissingScore):
                logger.warning("missing: %s", event)
                gaps.append(str(event))
        if not any(entry.embedded for entry in entries):
            raise StorageError(f"no embedding could be made: {gaps[-1]}")
        with replaced_directory(run.embeddings_dir) as staging:
            for entry in entries:
                entry.place_embeddings(staging)
        rows = [row | {"study": study} for entry in entries for row in entry.rows]
        rows.sort(key=_row_order)
        write_table(rows, EVALUATIONS, run.evaluations_file)
        predictions = [table for entry in entries for table in entry.predictions]
        write_table(_of_study(study, predictions), PREDICTIONS, run.predictions_file)
        record = {
            "study": study,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": sys.argv,
            "n_train": len(images.train),
            "n_test": len(images.test),
            **described,
            "seed": options.seed,
            "seconds": time.perf_counter() - started,
            "from_earlier": n_there,
            "gaps": gaps,
        }
        write_text(json.dumps(record, indent=2) + "\n", run.evaluation_file)
        run.push()
        if run.mirror and all(entry.done for entry in entries):
            with _warned():
                run.mirror.with_retries(SHORT_RETRIES).delete(run.cache_dir)


def _take(run: RunDirectory, entry: Entry, event: Event, images: Images) -> None:
    """Keep what has been computed, also under a URI if that is where the run lies."""
    entry.take(event, images)
    if run.mirror and entry.done:
        with _warned():
            entry.send(run.mirror.with_retries(SHORT_RETRIES))


@contextmanager
def _warned() -> Iterator[None]:
    """Go on if the storage does not answer: the results themselves are sent in the end."""
    try:
        yield
    except StorageError as error:
        logger.warning("%s", error)


def _events(
    compute: Compute | None,
    images: Images,
    embedders: Sequence[Embedder],
    options: Options,
    console: Console | None,
) -> Iterator[Event]:
    n_embeddings = sum(len(embedder.keys) for embedder in embedders)
    n_rounds = len(planned_rounds(images, options.grid))
    progress = Progress(console, n_embeddings, n_rounds) if console else None
    with progress or nullcontext():
        for event in (compute or _ray(options))(images, embedders, options.grid):
            if progress:
                progress.show(event)
            yield event


def _ray(options: Options) -> Compute:
    # Not at the top of the file: whoever brings another `compute` needs no Ray.
    from evaluation.pipeline import ray_tasks

    return partial(ray_tasks.compute, address=options.address, cpus=options.cpus)


def _known_gaps(images: Images, grid: KnnGrid) -> list[str]:
    if images.train_labels is None or images.test_labels is None:
        return ["KNN accuracy: the dataset has no labels"]
    return missing_cells(images.train_labels, grid)


def _of_study(study: str, predictions: Sequence[pa.Table]) -> pa.Table:
    table = pa.concat_tables([PREDICTIONS.empty_table(), *predictions])
    name = pa.repeat(pa.scalar(study), len(table))
    return table.set_column(0, PREDICTIONS.field("study"), name).sort_by(
        [
            (column, "ascending")
            for column in ("method", "trial_id", "training_seed", "dim", "n_neighbors", "index")
        ]
    )


def _row_order(row: dict[str, Any]) -> tuple[Any, ...]:
    infinite = float("inf")
    return (
        list(METHODS).index(row["method"]) if row["method"] in METHODS else len(METHODS),
        row["trial_id"] or "",
        -1 if row["training_seed"] is None else row["training_seed"],
        row["dim"],
        row["protocol"],
        row["metric"],
        infinite if row.get("samples_per_class") is None else row["samples_per_class"],
        row.get("n_neighbors") or 0,
        row.get("weights") or "",
        -1 if row.get("fold") is None else row["fold"],
    )
