"""A pickle that leaves a mark when it is loaded, for the tests that nothing loads it."""

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class _Pickled:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.makedirs, (str(self.mark),)


class Bomb:
    """An object that is harmless until it is pickled and loaded: the loading makes the directory ``mark``."""

    def __init__(self, directory: Path) -> None:
        self.mark = directory / "exploded"
        self.pickled = _Pickled(self.mark)
        self.content = pickle.dumps(self.pickled)

    @contextmanager
    def stays_whole(self) -> Iterator[None]:
        """Check that what happens inside does not load it, and that loading it would have shown."""
        yield
        assert not self.mark.exists()
        pickle.loads(self.content)
        assert self.mark.exists()
        self.mark.rmdir()
