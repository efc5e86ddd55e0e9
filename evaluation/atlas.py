"""The test images of an evaluation as one Parquet file for Embedding Atlas: places, classes, images."""

import io

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evaluation.embedding_files import read_embedding
from evaluation.figures.latent_spaces import latent_space_panels
from evaluation.neighbors import find_neighbors
from evaluation.results import Results
from evaluation.run_directory import RunDirectory
from evaluation.shown_images import ShownImages
from evaluation.sprite import picture
from evaluation.tables import write_table
from vae.errors import UserError

MAX_IMAGES = 100_000
N_NEIGHBORS = 15


def write_atlas(run: RunDirectory, shown: ShownImages) -> list[str]:
    """Write ``atlas.parquet`` and return the options of `embedding-atlas` that show it.

    Columns: ``index``, ``class``, ``predicted``, ``image`` (PNG), ``<method>_x`` and ``<method>_y`` for each
    that is seen in two dimensions, ``neighbors``, the nearest of these images in the best VAE's latent space.

    Raises
    ------
    UserError
        No embedding can be seen in two dimensions.
    StorageError
        A file cannot be read or written.
    """
    results = Results.read(run)
    panels = latent_space_panels(run, results)
    if not panels:
        raise UserError(f"{run.path} has no embedding that is made to be looked at")
    columns: dict[str, pa.Array] = {"index": pa.array(shown.index)}
    columns |= {name: pa.array(values) for name, values in shown.columns(results).items()}
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
    if results.winner_row is not None and results.winner_row.key in shown.keys:
        columns["neighbors"] = _neighbors(run, shown, results)
        options += ["--neighbors", "neighbors"]
    table = pa.table(columns)
    write_table(table, table.schema, run.atlas_file)
    return options


def _neighbors(run: RunDirectory, shown: ShownImages, results: Results) -> pa.Array:
    """Return, as that tool wants them, the rows of the nearest images and their distances; itself first."""
    assert results.winner_row is not None
    points = read_embedding(run.embeddings_dir, results.winner_row.key).test[shown.index]
    found = find_neighbors(points, points, min(N_NEIGHBORS + 1, len(points)))
    lists = (pa.array(list(part)) for part in (found.index, found.distance))
    return pa.StructArray.from_arrays(list(lists), ["ids", "distances"])


def _png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    picture(image.transpose(1, 2, 0)).save(file, "PNG")
    return file.getvalue()
