"""Checkpoints that travel with the work: other nodes need not see the disk that they lie on."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from evaluation.embedders import Embedder

Packed = dict[Path, dict[str, bytes]]
"""Directory of a checkpoint -> the names and contents of its files."""


def pack(embedder: Embedder) -> Packed:
    """Return the files of the checkpoints that an embedder is made of."""
    return {
        path: {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}
        for path in _paths(embedder)
        if path.is_dir()
    }


def unpack(embedder: Embedder, packed: Packed, directory: Path) -> Embedder:
    """Return the embedder as it works here: checkpoints that this disk lacks are put below ``directory``."""
    places: dict[Path, Path] = {}
    for number, (path, files) in enumerate(packed.items()):
        if path.exists():
            continue
        places[path] = directory / str(number) / path.name
        places[path].mkdir(parents=True)
        for name, content in files.items():
            (places[path] / name).write_bytes(content)
    moved: Embedder = _moved(embedder, places) if places else embedder
    return moved


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    for member in _members(value):
        yield from _paths(member)


def _members(value: Any) -> list[Any]:
    if is_dataclass(value):
        return [getattr(value, field.name) for field in fields(value)]
    return list(value) if isinstance(value, tuple) else []


def _moved(value: Any, places: Mapping[Path, Path]) -> Any:
    if isinstance(value, Path):
        return places.get(value, value)
    if isinstance(value, tuple):
        return tuple(_moved(member, places) for member in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{field.name: _moved(getattr(value, field.name), places) for field in fields(value)}
        )
    return value
