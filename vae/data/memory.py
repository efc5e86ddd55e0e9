"""How much memory there is, and where images stay that it cannot hold: in files that are mapped."""

import contextlib
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae.errors import StorageError

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files that tell how much memory a container may use: of cgroups version 2, and 1."""
ROWS_AT_ONCE = 8192


def memory_bytes() -> int:
    """Return the memory that this process may use: that of the machine, or of its container."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # there is no such file, or no limit: "max"
            limits.append(int(Path(file).read_text()))
    return min(limits)


def exceed_memory(n_bytes: int) -> bool:
    """Whether so many bytes of images are too many: with the parts that are made of them they count twice."""
    return 2 * n_bytes > memory_bytes()


def take_rows(images: Tensor, index: Tensor) -> Tensor:
    """Return ``images[index]`` (integers or a mask), in a temporary file where memory cannot hold them.

    The file has no name and goes with the tensor.

    Raises
    ------
    StorageError
        There is no room for it.
    """
    rows = index.nonzero()[:, 0] if index.dtype == torch.bool else index
    shape = (len(rows), *images.shape[1:])
    if images.device.type != "cpu" or not exceed_memory(size := int(np.prod(shape))):
        return images[index]
    try:
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, size)  # else a full disk would end the process
            taken = torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=shape))
    except OSError as error:
        raise StorageError(
            f"cannot keep {size / 1e9:.1f} GB of images in {tempfile.gettempdir()}: {error.strerror}; set "
            "TMPDIR to a folder on a disk with room for them"
        ) from None
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        taken[part] = images[rows[part]]
    return taken
