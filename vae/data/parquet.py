"""Reads one's own images from Parquet: encoded, as Hugging Face ships them, or as arrays of numbers."""

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vae.data.arrays import ImageArrays, number_groups, size_text, with_classes
from vae.data.folders import alike_in_colour
from vae.data.parquet_columns import class_labels, image_sources, is_test_row, pixels
from vae.data.resize import WAY_OUT
from vae.data.splits import Sources
from vae.errors import StorageError, UsageError

logger = logging.getLogger(__name__)

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "coarse_label")
"""The first that is there holds the classes; CIFAR-100 has the last two."""
PARTS = ("train", "validation", "test")
"""Files begin with these. Validation images join those of train: a search chooses its own."""
SPLIT_COLUMN, GROUP_COLUMN = "split", "group"


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of one file: images uint8 (n, H, W, C), labels (n,) or None, and which are for the test."""

    file: Path
    images: np.ndarray
    labels: np.ndarray | None
    label_column: str | None
    label_names: tuple[str, ...]
    is_test: np.ndarray
    groups: np.ndarray | None
    sources: list[str]


def read_parquet(path: Path, resize: int | None = None) -> ImageArrays:
    """Images of one file, or of all files of a folder, where `train*` and `test*` are the parts.

    The columns are `image` (or `img`), see `vae.data.parquet_columns.pixels`; `label` (or another of
    `LABEL_COLUMNS`) if known, whole numbers or names; `split` if known, one of `PARTS`; and `group` if
    known, what an image belongs to. ``resize`` is that of `vae.data.load_dataset`.
    """
    files = _files(path) if path.is_dir() else [path]
    parts = {file: _part(file) for file in files} if path.is_dir() else {}
    if set(parts.values()) <= {None}:
        parts = dict.fromkeys(files)
    elif None in parts.values() or "train" not in parts.values():
        odd = next((file.name for file in files if parts[file] is None), files[0].name)
        raise UsageError(
            f"{path} has the file {odd}, but its parts must be train*.parquet and test*.parquet, or train "
            "alone, or also validation*.parquet; rename it or move it away"
        )
    if "validation" in parts.values():
        logger.info("%s: its validation images join the training images", path)
    in_order = sorted(parts, key=lambda file: (PARTS.index(parts[file] or "train"), file))
    rows = [_read_file(file, parts[file], resize, _name(file, path)) for file in in_order]
    first = rows[0]
    for other in rows[1:]:
        _check_alike(first, other)
    images = np.concatenate(alike_in_colour([part.images for part in rows]))
    is_test = np.concatenate([part.is_test for part in rows])
    labels = (
        None
        if first.labels is None
        else np.concatenate([part.labels for part in rows if part.labels is not None])
    )
    if is_test.all():
        raise UsageError(f"{path} has rows of the split test only; add those of train")
    sources = Sources.of_files([source for part in rows for source in part.sources])
    groups = [part.groups for part in rows if part.groups is not None]
    if 0 < len(groups) < len(rows):
        raise UsageError(f"{path}: only some of its files have a column '{GROUP_COLUMN}'; write it into all")
    numbers = number_groups(np.concatenate(groups), None, len(images), 0, str(path))[0] if groups else None
    if not is_test.any():
        arrays = with_classes(path, images, labels, label_names=first.label_names)
        return replace(arrays, groups=numbers, sources=sources)
    arrays = with_classes(
        path,
        images[~is_test],
        None if labels is None else labels[~is_test],
        test_images=images[is_test],
        test_labels=None if labels is None else labels[is_test],
        label_names=first.label_names,
    )
    return replace(
        arrays,
        groups=None if numbers is None else numbers[~is_test],
        test_groups=None if numbers is None else numbers[is_test],
        sources=sources.subset(~is_test),
        test_sources=sources.subset(is_test),
    )


def _files(folder: Path) -> list[Path]:
    return sorted(
        file for file in folder.glob("*.parquet") if file.is_file() and not file.name.startswith((".", "_"))
    )


def _part(file: Path) -> str | None:
    return next((part for part in PARTS if file.name.startswith(part)), None)


def _check_alike(first: _Rows, other: _Rows) -> None:
    if other.images.shape[1:3] != first.images.shape[1:3]:
        raise UsageError(
            f"images in {other.file} are {size_text(other.images)}, those in {first.file} are "
            f"{size_text(first.images)}; make all the same: {WAY_OUT}"
        )
    kinds = [
        None if rows.labels is None else (rows.label_column, rows.labels.dtype.kind == "U")
        for rows in (first, other)
    ]
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"{first.file} and {other.file} must both have a column '{LABEL_COLUMNS[0]}' of text, or both of "
            "whole numbers, or neither any; write one as the other"
        )
    if first.label_names != other.label_names:
        raise UsageError(
            f"{first.file} and {other.file} name their classes differently; write both with one list"
        )


def _name(file: Path, path: Path) -> str:
    return file.relative_to(path).as_posix() if path.is_dir() else file.name


def _read_file(file: Path, part: str | None, resize: int | None, name: str) -> _Rows:
    try:
        with pq.ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            image = image_column(file, schema)
            label = next((name for name in LABEL_COLUMNS if name in schema.names), None)
            if len(set(schema.names)) < len(schema.names):
                raise UsageError(f"{file} has two columns of one name; rename one")
            wanted = [image, label, GROUP_COLUMN] + ([SPLIT_COLUMN] if part is None else [])
            table = parquet.read([column for column in wanted if column in schema.names])
    except UsageError:
        raise
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise StorageError(f"cannot read {file} as Parquet: {error}; write it again") from None
    if len(table) == 0:
        raise UsageError(f"{file} has no rows; add images or delete it")
    images = pixels(table.column(image), f"column '{image}' of {file}", resize)
    labels, names = None, _label_names(schema, label)
    if label is not None:
        labels = class_labels(table.column(label), f"column '{label}' of {file}", names)
    if label != LABEL_COLUMNS[0]:
        _say_where_labels_are(file, schema.names, label)
    if SPLIT_COLUMN in table.column_names:
        is_test = is_test_row(table.column(SPLIT_COLUMN), f"column '{SPLIT_COLUMN}' of {file}")
    else:
        is_test = np.full(len(images), part == "test")
    names = () if labels is None or labels.dtype.kind == "U" else names
    groups = None
    if GROUP_COLUMN in table.column_names:
        groups = class_labels(table.column(GROUP_COLUMN), f"column '{GROUP_COLUMN}' of {file}", ())
    return _Rows(
        file, images, labels, label, names, is_test, groups, image_sources(table.column(image), name)
    )


def image_column(file: Path, schema: pa.Schema) -> str:
    """Return the name of the column with the images; a UsageError if there is none."""
    for name in IMAGE_COLUMNS:
        if name in schema.names:
            return name
    raise UsageError(f"{file} has no column 'image', it has {schema.names}; name the images' column so")


def _say_where_labels_are(file: Path, columns: list[str], label: str | None) -> None:
    """Say which column was taken for labels, unless it is the usual one, and which others might be some."""
    others = [
        name for name in columns if name != label and any(word in name.lower() for word in _LABEL_WORDS)
    ]
    hint = f"; to use {' or '.join(others)}, rename it to {LABEL_COLUMNS[0]}" if others else ""
    if label is None:
        level = logging.WARNING if others else logging.INFO
        text = "%s has no column '%s', it has %s: its images are unlabelled%s"
        logger.log(level, text, file, LABEL_COLUMNS[0], ", ".join(columns), hint)
    else:
        logger.info("%s: the labels are those of the column '%s'%s", file, label, hint)


_LABEL_WORDS = ("label", "class", "target", "categor")


def _label_names(schema: pa.Schema, label: str | None) -> tuple[str, ...]:
    """Names of the classes by number, where Hugging Face's `datasets` has noted them."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[label]["names"])
    except (KeyError, TypeError, ValueError):
        return ()
