"""Dataclasses that are kept as JSON files."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

from vae.atomic import write_text
from vae.errors import StorageError


class JsonRecord(ABC):
    """Base of a dataclass that is kept as a file; a default is what an older file means without the key."""

    __slots__ = ()

    @classmethod
    @abstractmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Return the record of a file's content.

        Raises
        ------
        ValueError
            It is that of something else; the message says why.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return what the file holds."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the file.

        Raises
        ------
        StorageError
            It is absent, unreadable or that of something else.
        """
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError("it holds no JSON object")
            return cls.from_json(content)
        except FileNotFoundError as error:
            raise StorageError(f"cannot read {file}: it does not exist") from error
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot read {file}: {error}") from error

    def write(self, file: Path) -> None:
        """Write the file so that a reader never sees half of it."""
        write_text(json.dumps(self.to_json(), indent=2) + "\n", file)
