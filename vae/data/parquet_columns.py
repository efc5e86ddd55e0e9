"""Columns of a Parquet file as arrays: images in any of several forms, labels, splits."""

import io
import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from vae.data.arrays import check_labels, to_uint8
from vae.data.folders import read_images
from vae.data.resize import WAY_OUT
from vae.errors import UsageError


def pixels(
    column: pa.ChunkedArray, where: str, resize: int | None = None, *, is_first: bool = True
) -> np.ndarray:
    """Images uint8 (n, H, W, C).

    They are encoded (PNG, JPEG, …), as binary or in the field `bytes` of a struct, as Hugging Face has them;
    or nested lists or tensors (H, W) or (H, W, C) of whole numbers in 0..255 or floats in [0, 1]. ``resize``
    is that of `vae.data.load_dataset`, ``is_first`` that of `to_uint8`.

    Raises
    ------
    UsageError
        An image is missing, of another size than the others, or in another form.
    StorageError
        An image cannot be decoded.
    """
    _refuse_missing(column, where, "drop the row")
    if types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
        _refuse_missing(column, where, "put the image itself into the file, not only its path")
    if _is_binary(column.type):
        encoded = [io.BytesIO(value.as_py()) for value in column]
        return read_images(encoded, [f"row {row} of {where}" for row in range(len(encoded))], resize)
    if isinstance(column.type, pa.FixedShapeTensorType):
        tensors = np.concatenate([chunk.to_numpy_ndarray() for chunk in column.chunks])
        return to_uint8(tensors, where, resize, is_first=is_first)
    if _is_list(column.type):
        return to_uint8(_nested(column, where), where, resize, is_first=is_first)
    raise UsageError(
        f"{where} is {column.type}, must be encoded images or nested lists of numbers; write the images so"
    )


def image_sources(column: pa.ChunkedArray, file: str, start: int = 0) -> list[str]:
    """Name each image: by the field `path` of its struct where it has one, else by its row.

    ``start`` is the row of the first.
    """
    paths: list[str | None] = [None] * len(column)
    field = column.type.get_field_index("path") if types.is_struct(column.type) else -1
    if field >= 0 and _is_text(column.type.field(field).type):
        paths = pc.struct_field(column, "path").to_pylist()
    return [path or f"{file}/{row}" for row, path in enumerate(paths, start)]


def class_labels(column: pa.ChunkedArray, where: str, names: tuple[str, ...]) -> np.ndarray:
    """Labels (n,), numbers or text; ``names`` are those of the classes 0, 1, ... if they are known.

    Raises
    ------
    UsageError
        A label is missing, beyond the names, or no class.
    """
    column = _plain(column)
    _refuse_missing(column, where, "fill it, drop the row, or drop the column for unlabelled images")
    if _is_text(column.type):
        return np.array(_texts(column, where), dtype=np.str_)
    if not (types.is_integer(column.type) or types.is_floating(column.type) or types.is_boolean(column.type)):
        raise UsageError(f"{where} is {column.type}, must be whole numbers or names; convert it")
    labels = check_labels(column.to_numpy(), len(column), where)
    if names and len(odd := np.flatnonzero((labels < 0) | (labels >= len(names)))):
        raise UsageError(
            f"row {odd[0]} of {where} is {labels[odd[0]]}, must be 0 to {len(names) - 1} for the classes "
            f"{names[0]!r} to {names[-1]!r}; drop the row, or the column for unlabelled images"
        )
    return labels


def is_test_row(column: pa.ChunkedArray, where: str) -> np.ndarray:
    """Whether each row (n,) is for the test; a UsageError if a value is no part.

    Those of `validation` are not: a search chooses its validation images by itself.
    """
    values = _texts(_plain(column), where)
    for row, value in enumerate(values):
        if value not in ("train", "validation", "test"):
            raise UsageError(
                f"row {row} of {where} is {value!r}, must be 'train', 'validation' or 'test'; change it or "
                "drop the column"
            )
    return np.array([value == "test" for value in values])


def _nested(column: pa.ChunkedArray, where: str) -> np.ndarray:
    """Numbers (n, H, W) or (n, H, W, C) of lists that have one length at each level."""
    parts: list[np.ndarray] = []
    n_before = 0
    for chunk in filter(len, column.chunks):
        values = chunk
        shape: list[int] = []
        while _is_list(values.type):
            lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
            length = parts[0].shape[len(shape) + 1] if parts else lengths[0] if len(lengths) else 0
            if len(odd := np.flatnonzero(lengths != length)):
                row = n_before + odd[0] // math.prod(shape)
                raise UsageError(
                    f"row {row} of {where} has another size than row 0; make all images the same, or write "
                    f"them as PNG or JPEG: {WAY_OUT}"
                )
            shape.append(int(length))
            values = values.flatten()
            if values.null_count:
                missing = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))
                row = n_before + missing[0] // math.prod(shape)
                raise UsageError(f"row {row} of {where} has a missing number; fill it or drop the row")
        if not (types.is_integer(values.type) or types.is_floating(values.type)):
            raise UsageError(f"{where} has lists of {values.type}, must be numbers; convert them")
        parts.append(values.to_numpy(zero_copy_only=False).reshape(len(chunk), *shape))
        n_before += len(chunk)
    images = np.concatenate(parts)
    if images.ndim > 2:
        return images
    side = math.isqrt(images.shape[1])
    if side * side != images.shape[1]:
        raise UsageError(
            f"{where} has flat lists of {images.shape[1]} numbers, which are no square grey images; "
            "nest them as (height, width) or (height, width, channels)"
        )
    return images.reshape(-1, side, side)


def _refuse_missing(column: pa.ChunkedArray, where: str, way_out: str) -> None:
    if column.null_count:
        row = np.flatnonzero(column.is_null().to_numpy())[0]
        raise UsageError(f"row {row} of {where} is missing; {way_out}")


def _texts(column: pa.ChunkedArray, where: str) -> list[str | None]:
    try:
        texts: list[str | None] = column.to_pylist()
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} has text that is not UTF-8: {error}; write it again") from None
    return texts


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without a dictionary."""
    return column.cast(column.type.value_type) if types.is_dictionary(column.type) else column


def _one_of(*checks: Callable[[pa.DataType], bool]) -> Callable[[pa.DataType], bool]:
    return lambda kind: any(check(kind) for check in checks)


_is_binary = _one_of(types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
_is_text = _one_of(types.is_string, types.is_large_string, types.is_string_view)
_is_list = _one_of(types.is_list, types.is_large_list, types.is_fixed_size_list)
