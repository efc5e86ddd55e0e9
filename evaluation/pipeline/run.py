"""One evaluation of a run, alone on it: embed and score what is missing, write tables and record."""

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa
from rich.console import Console

from evaluation.embedders import Embedder, Images, position
from evaluation.pipeline.cache import CacheEntry, find_cache_entries
from evaluation.pipeline.cost import expected_steps
from evaluation.pipeline.plan import Options
from evaluation.pipeline.progress import Progress
from evaluation.pipeline.serial import Compute, Event, MissingScore, planned_rounds
from evaluation.pipeline.subject import Subject
from evaluation.record import EvaluationRecord
from evaluation.result_tables import EVALUATIONS, PREDICTIONS
from evaluation.scores.protocols import missing_cells
from evaluation.scores.settings import KnnGrid
from tune.storage.filesystems import SHORT_RETRIES
from tune.storage.lock import exclusive
from tune.storage.mirror import LeaseLost
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import write_table
from vae.atomic import replaced_directory
from vae.errors import StorageError

logger = logging.getLogger(__name__)

Sources = tuple[pa.Array, pa.Array]
"""Of the training and of the test images."""


def run_evaluation(
    subject: Subject,
    run: RunDirectory,
    options: Options,
    compute: Compute | None,
    console: Console | None,
) -> None:
    """Embed and score a subject and replace the results in a run directory.

    ``options`` are those that the subject was planned with, ``compute`` is Ray by default, and without a
    console it is silent.

    Raises
    ------
    UsageError
        Another evaluation of this run is under way.
    StorageError
        A file cannot be written, or no embedding could be made.
    """
    images = subject.images
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
        fingerprint = subject.record.dataset.fingerprint
        if images.searched is not None:  # the scores depend on the search's split too
            fingerprint += f", split by {images.searched.seed}"
        sources = _sources(subject)
        if sources is not None:  # the files name them, and files may be renamed
            digest = hashlib.sha256("\n".join(text for part in sources for text in part.to_pylist()).encode())
            fingerprint += f", from {digest.hexdigest()[:16]}"
        entries = find_cache_entries(run, subject.embedders, fingerprint, options.grid, n_rounds)
        todo = [
            embedder for embedder, entry in zip(subject.embedders, entries, strict=True) if not entry.done
        ]
        n_cached = sum(len(entry.keys) for entry in entries if entry.done)
        if console and n_cached:
            console.print(f"{n_cached} embeddings are there from an earlier evaluation", highlight=False)
        entry_of = {key: entry for entry in entries for key in entry.keys}
        for entry in entries:
            at_end.callback(entry.discard_partial)
        for event in _events(compute, images, todo, options, console) if todo else ():
            if event.key in entry_of:
                _add_to_cache(run, entry_of[event.key], event, images, sources)
            if isinstance(event, MissingScore):
                logger.warning("missing: %s", event)
                gaps.append(str(event))
        if not any(entry.embedded for entry in entries):
            raise StorageError(f"no embedding could be made: {gaps[-1]}")
        used_before = _test_uses(run)
        _write_tables(run, subject.record, entries, sources)
        record = replace(
            subject.record,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            command=tuple(sys.argv),
            n_train=len(images.train),
            n_test=len(images.test),
            seed=options.seed,
            seconds=time.perf_counter() - started,
            from_earlier=n_cached,
            test_uses=used_before + 1,
            gaps=tuple(gaps),
        )
        record.write(run.evaluation_file)
        run.push()
        if run.mirror and all(entry.done for entry in entries):
            with _storage_errors_logged():
                run.mirror.with_retries(SHORT_RETRIES).delete(run.cache_dir)


def _sources(subject: Subject) -> Sources | None:
    """Return where the training and the test images are from, texts (n,) and (m,); None if not known."""
    if subject.dataset is None or subject.dataset.sources is None:
        return None
    train, test = (pa.array(part.to_list(), pa.string()) for part in subject.dataset.sources)
    return train, test


def _add_to_cache(
    run: RunDirectory, entry: CacheEntry, event: Event, images: Images, sources: Sources | None
) -> None:
    """Keep what has been computed, also under a URI if that is where the run lies."""
    entry.add(event, images, sources)
    if run.mirror and entry.done:
        with _storage_errors_logged():
            entry.send(run.mirror.with_retries(SHORT_RETRIES))


@contextmanager
def _storage_errors_logged() -> Iterator[None]:
    """Continue if the storage does not answer: the results themselves are sent at the end."""
    try:
        yield
    except LeaseLost:
        raise
    except StorageError as error:
        logger.warning("%s", error)


def _events(
    compute: Compute | None,
    images: Images,
    embedders: Sequence[Embedder],
    options: Options,
    console: Console | None,
) -> Iterator[Event]:
    slots = 1 if compute else options.cpus or os.cpu_count() or 1
    progress = Progress(console, expected_steps(images, embedders), slots) if console else None
    with progress or nullcontext():
        for event in (compute or _on_ray(options))(images, embedders, options.grid):
            if progress:
                progress.show(event)
            yield event


def _on_ray(options: Options) -> Compute:
    # Not at the top of the file: another `compute` needs no Ray.
    from evaluation.pipeline import ray_tasks

    return partial(ray_tasks.compute, address=options.address, cpus=options.cpus)


def _known_gaps(images: Images, grid: KnnGrid) -> list[str]:
    if images.train_labels is None or images.test_labels is None:
        return ["KNN accuracy: the dataset has no labels"]
    return missing_cells(images.train_labels, grid, images.train_groups)


def _test_uses(run: RunDirectory) -> int:
    """Return how many evaluations have used the test images; an older version counts none but the last."""
    if not run.evaluation_file.exists():
        return 0
    try:
        return EvaluationRecord.read(run.evaluation_file).test_uses or 1
    except StorageError as error:
        logger.warning("%s; it is replaced", error)
        return 1


def _write_tables(
    run: RunDirectory, record: EvaluationRecord, entries: Sequence[CacheEntry], sources: Sources | None
) -> None:
    study, state = record.study, None if record.state is None else record.state.stamp
    with replaced_directory(run.embeddings_dir) as staging:
        for entry in entries:
            entry.place_embeddings(staging)
        if record.state is not None:  # the files themselves may be those of an earlier evaluation
            text = json.dumps({"state": state} | asdict(record.state), indent=2)
            (staging / run.embeddings_state_file.name).write_text(text + "\n", encoding="utf-8")
    rows = [row | {"study": study} for entry in entries for row in entry.rows]
    rows.sort(key=_row_order)
    write_table(rows, EVALUATIONS, run.evaluations_file, state=state)
    predictions = pa.concat_tables(
        [PREDICTIONS.empty_table(), *(table for entry in entries for table in entry.predictions)]
    )
    names = pa.repeat(pa.scalar(study), len(predictions))
    order = ("method", "trial_id", "training_seed", "dim", "n_neighbors", "index")
    predictions = predictions.set_column(0, PREDICTIONS.field("study"), names).sort_by(
        [(column, "ascending") for column in order]
    )
    if sources is not None:  # the rounds that predict know rows alone
        place = predictions.schema.get_field_index("source")
        names = sources[1].take(predictions["index"].combine_chunks())
        predictions = predictions.set_column(place, PREDICTIONS.field("source"), names)
    write_table(predictions, PREDICTIONS, run.predictions_file, state=state)


def _row_order(row: dict[str, Any]) -> tuple[Any, ...]:
    infinite = float("inf")
    return (
        position(row["method"]),
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
