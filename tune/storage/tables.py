"""The Parquet tables of a study: their columns, named once, and how they are written and read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tune.storage.trial_status import TrialStatus
from vae.atomic import replaced_file
from vae.config import PARAMS
from vae.errors import StorageError

SCHEMA_VERSION = 1
_NEEDED = ("trial_id", "number", "status")
"""What each row of a table of trials has."""
STATE = b"state"
"""Key in the metadata of a table that is derived from trials: the state of the study that it belongs to."""
CONFIG_PREFIX = "config_"

_UTC = pa.timestamp("us", tz="UTC")
_ARROW_TYPES: dict[Any, pa.DataType] = {
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bool: pa.bool_(),
    tuple[int, ...]: pa.list_(pa.int64()),
    tuple[float, ...]: pa.list_(pa.float64()),
}

NEUTRAL_PANEL = {
    "val_knn_accuracy": pa.float64(),
    "val_ssim": pa.float64(),
    "val_mse": pa.float64(),
    "val_psnr": pa.float64(),
    "val_kl": pa.float64(),
    "active_units": pa.int64(),
    "val_neighbour_recall": pa.float64(),
    "val_rankme": pa.float64(),
}
"""The metrics that every trial reports, whatever its loss: the only ones that compare trials."""


def make_schema(columns: Mapping[str, pa.DataType]) -> pa.Schema:
    return pa.schema(list(columns.items()), metadata={"schema_version": str(SCHEMA_VERSION)})


TRIALS = make_schema(
    {
        "study": pa.string(),
        "trial_id": pa.string(),
        "number": pa.int64(),
        "proposal": pa.string(),
        "status": pa.string(),
        "stop_reason": pa.string(),
        "objective": pa.float64(),
        "pareto": pa.bool_(),
        "best_epoch": pa.float64(),
        "epochs": pa.float64(),
        "images": pa.int64(),
        **{CONFIG_PREFIX + name: _ARROW_TYPES[param.type] for name, param in PARAMS.items()},
        **NEUTRAL_PANEL,
        "n_parameters": pa.int64(),
        "checkpoint": pa.string(),
        "rung": pa.float64(),
        "cutoff": pa.float64(),
        "seed": pa.int64(),
        "node": pa.string(),
        "started_at": _UTC,
        "finished_at": _UTC,
        "train_seconds": pa.float64(),
        "error": pa.string(),
    }
)
"""One row per trial; ``proposal`` is null in studies of older versions.

``pareto`` is null with a single objective, and for trials that are not compared. ``images`` are those that
were seen in training, ``epochs`` the same in epochs, as are ``best_epoch`` and ``rung``.
"""

EPOCHS = make_schema(
    {
        "study": pa.string(),
        "trial_id": pa.string(),
        "epoch": pa.float64(),
        "images": pa.int64(),
        "quick": pa.bool_(),
        **NEUTRAL_PANEL,
        "train_loss": pa.float64(),
        "val_loss": pa.float64(),
        "train_reconstruction_loss": pa.float64(),
        "val_reconstruction_loss": pa.float64(),
        "train_kl": pa.float64(),
        "learning_rate": pa.float64(),
        "epoch_seconds": pa.float64(),
        "validation_seconds": pa.float64(),
        "images_per_second": pa.float64(),
    }
)
"""One row per trial and report, of which there is one after each epoch or at parts of the budget.

``images`` were seen in training, ``epoch`` is the same in epochs and need not be whole. A ``quick`` report
used at most 2,500 of the validation images. ``epoch_seconds`` are those since the report before, this one's
``validation_seconds`` included. The columns ``images``, ``quick`` and ``validation_seconds`` are null in
studies of older versions.
"""

FINALIST_SEEDS = make_schema(
    {
        "study": pa.string(),
        "trial_id": pa.string(),
        "seed": pa.int64(),
        "max_epochs": pa.float64(),
        "status": pa.string(),
        "stop_reason": pa.string(),
        "objective": pa.float64(),
        "best_epoch": pa.float64(),
        **NEUTRAL_PANEL,
        "checkpoint": pa.string(),
        "trial_weights": pa.string(),
        "train_seconds": pa.float64(),
        "error": pa.string(),
    }
)
"""One row per finalist and fresh seed; ``trial_weights`` is a hash of the model that was trained anew."""


def write_table(
    rows: pa.Table | Sequence[Mapping[str, Any]], schema: pa.Schema, path: Path, *, state: str | None = None
) -> None:
    """Write a table so that a reader sees the old file or the new one, never half of one.

    Columns that a row lacks are null. ``state`` is that of the study, for `read_state`.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    if state is not None:
        schema = schema.with_metadata((schema.metadata or {}) | {STATE: state.encode()})
    table = rows.cast(schema) if isinstance(rows, pa.Table) else _table(rows, schema)
    with replaced_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(path: Path) -> pa.Table:
    """Read one Parquet file.

    Raises
    ------
    StorageError
        There is no such file, or it is not Parquet.
    """
    try:
        # `pq.read_table` would take partition columns from a path such as runs/name=x/trials.parquet.
        table = pq.ParquetFile(path).read()
        if twice := [name for name, n in Counter(table.column_names).items() if n > 1]:
            raise StorageError(f"cannot read {path}: it has two columns {twice[0]!r}")
        return table
    except FileNotFoundError as error:
        raise StorageError(f"cannot read {path}: it does not exist") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StorageError(f"cannot read {path}: {error}") from error


def check_table(path: Path) -> None:
    """Make sure that a Parquet file is whole, from its end alone; for the error see `read_table`."""
    try:
        pq.read_metadata(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StorageError(f"cannot read {path}: {error}") from error


def read_state(path: Path) -> str | None:
    """Return the state of the study that a table was written with; None if it does not say it, or is gone.

    Raises
    ------
    StorageError
        The file is not Parquet.
    """
    if not path.exists():
        return None
    try:
        found: bytes | None = (pq.read_schema(path).metadata or {}).get(STATE)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StorageError(f"cannot read {path}: {error}") from error
    return None if found is None else found.decode()


def read_frame(path: Path, schema: pa.Schema) -> pd.DataFrame:
    """Read one Parquet file as a frame with at least the schema's columns; without the file it is empty.

    Columns that a file of an older version lacks are null.

    Raises
    ------
    StorageError
        The file is not Parquet.
    """
    return (_read(path, schema) if path.exists() else schema.empty_table()).to_pandas()


def read_rows(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """Return the rows of a file with at least the schema's columns.

    Raises
    ------
    StorageError
        There is no such file, or it holds something else.
    """
    try:
        rows: list[dict[str, Any]] = _read(path, schema).to_pylist()
    except ValueError as error:  # text that is no UTF-8
        raise StorageError(f"cannot read {path}: {error}") from error
    return rows


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a table that somebody else may have written: with the schema's columns, of its types."""
    table = read_table(path)
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
            continue
        column = table.column(field.name)
        if column.type != field.type:
            try:
                column = column.cast(field.type)
            except pa.ArrowException as error:
                raise StorageError(
                    f"cannot read {path}: its column {field.name} is {column.type}, not {field.type}"
                ) from error
            table = table.set_column(table.column_names.index(field.name), field, column)
    if "number" in schema.names:  # one of trials
        for name in _NEEDED:
            if table.column(name).null_count:
                raise StorageError(f"cannot read {path}: a row has no {name}")
        if unknown := sorted(set(table["status"].to_pylist()) - set(TrialStatus)):
            raise StorageError(f"cannot read {path}: {unknown[0]!r} is no status of a trial")
    return table


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    unknown = {name for row in rows for name in row} - set(schema.names)
    # pyarrow would drop them without a word.
    assert not unknown, f"columns that the schema lacks: {sorted(unknown)}"
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
