"""The embeddings of an evaluation for TensorBoard's projector: points, classes and the images themselves."""

import csv
import io
import shutil
from pathlib import Path

import numpy as np

from evaluation.embedders import label
from evaluation.embedders.files import read_embedding
from evaluation.export.image_sample import ImageSample
from evaluation.figures.sprite import sprite
from tune.storage.run_directory import RunDirectory
from vae.atomic import replaced_file, write_text
from vae.errors import StorageError, UsageError

MAX_IMAGES = 5000
"""The projector becomes slow beyond; their sprite stays below the 8192 pixels that browsers take."""

TENSORS_SUFFIX, METADATA_FILE, SPRITE_FILE = ".tsv", "metadata.tsv", "sprite.png"
CONFIG_FILE = "projector_config.pbtxt"


def write_projector(run: RunDirectory, shown: ImageSample, directory: Path) -> None:
    """Write a directory anew with images of a run, for ``tensorboard --logdir``.

    Raises
    ------
    UsageError
        There is another directory of that name.
    StorageError
        A file cannot be read or written.
    """
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    config = ProjectorConfig()
    try:
        if directory.exists() and any(directory.iterdir()) and not (directory / CONFIG_FILE).exists():
            raise UsageError(f"{directory} is not one of the projector's; choose another --output")
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        _write_metadata(directory, shown)
        if shown.images is not None:
            with replaced_file(directory / SPRITE_FILE) as path:
                path.write_bytes(sprite(shown.images, "PNG"))
        for key in shown.keys:
            points = read_embedding(run.embeddings_dir, key).test[shown.index]
            file = f"{key.name}-{key.dim}d{TENSORS_SUFFIX}"
            with replaced_file(directory / file) as path:
                np.savetxt(path, points, fmt="%.5g", delimiter="\t")
            entry = config.embeddings.add()
            entry.tensor_name, entry.tensor_path = f"{label(key)} {key.dim}-d", file
            entry.metadata_path = METADATA_FILE
            if shown.images is not None:
                entry.sprite.image_path = SPRITE_FILE
                entry.sprite.single_image_dim.extend([shown.images.shape[3], shown.images.shape[2]])
        write_text(str(config), directory / CONFIG_FILE)
    except OSError as error:
        raise StorageError(f"cannot write {directory}: {error.strerror}") from error


def _write_metadata(directory: Path, shown: ImageSample) -> None:
    columns = {"index": shown.index.tolist()} | shown.columns()
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    # A single column has no heading there.
    if len(columns) > 1:
        writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_text(text.getvalue(), directory / METADATA_FILE)
