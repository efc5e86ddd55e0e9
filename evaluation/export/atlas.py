"""The test images of an evaluation as one Parquet file for Embedding Atlas: places, classes, images."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.embedders.files import read_embedding
from evaluation.export.image_sample import ImageSample
from evaluation.figures.latent_spaces import latent_space_panels
from evaluation.figures.sprite import picture
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import write_table
from vae.errors import UsageError
from vae.metrics.neighbors import find_neighbors

MAX_IMAGES = 100_000
N_NEIGHBORS = 15


def write_atlas(run: RunDirectory, shown: ImageSample, file: Path) -> list[str]:
    """Write a file of images of a run and return the options of `embedding-atlas` that show it.

    Columns: ``index``, ``source``, ``class``, ``predicted``, ``image`` (PNG), ``<method>_x`` and
    ``<method>_y`` for each that is seen in two dimensions, ``neighbors``, the nearest of these images in the
    best VAE's latent space.

    Raises
    ------
    UsageError
        No embedding can be seen in two dimensions.
    StorageError
        A file cannot be read or written.
    """
    panels = latent_space_panels(run, shown.results)
    if not panels:
        raise UsageError(f"{run.location} has no embedding with a view in two dimensions")
    columns: dict[str, pa.Array] = {"index": pa.array(shown.index)}
    columns |= {name: pa.array(values) for name, values in shown.columns().items()}
    if shown.images is not None:
        files = [_png(image) for image in shown.images]
        columns["image"] = pa.StructArray.from_arrays([pa.array(files, pa.binary())], ["bytes"])
    for panel in panels:
        for axis, letter in enumerate("xy"):
            places = panel.points[shown.index, axis].astype(np.float32)
            columns[f"{panel.key.method}_{letter}"] = pa.array(places)
    view = next((panel for panel in panels if panel.winner), panels[0]).key.method
    options = ["--x", f"{view}_x", "--y", f"{view}_y"]
    if shown.images is not None:
        options += ["--image", "image"]
    winner = shown.results.comparison.winner
    if winner is not None and winner.key in shown.keys:
        columns["neighbors"] = _neighbors(read_embedding(run.embeddings_dir, winner.key).test[shown.index])
        options += ["--neighbors", "neighbors"]
    table = pa.table(columns)
    write_table(table, table.schema, file)
    return options


def _neighbors(points: NDArray[np.float32]) -> pa.Array:
    """Return, as that tool wants them, the rows of the nearest points (n, dim) and their distances."""
    found = find_neighbors(points, points, min(N_NEIGHBORS + 1, len(points)))
    lists = (pa.array(list(part)) for part in (found.index, found.distance))
    return pa.StructArray.from_arrays(list(lists), ["ids", "distances"])


def _png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    picture(image.transpose(1, 2, 0)).save(file, "PNG")
    return file.getvalue()
