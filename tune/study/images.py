"""The images of a study: under a name or path, or arrays that its run directory keeps."""

from pathlib import Path

from tune.storage.run_directory import RunDirectory
from tune.storage.study_record import DatasetRecord
from vae.data import Dataset, load_dataset
from vae.errors import UsageError


def load_images(run: RunDirectory, described: DatasetRecord) -> Dataset:
    """Return the images that a study was searched on, from its run directory or where it describes them.

    Raises
    ------
    UsageError
        What is found there are other images.
    StorageError
        A file cannot be read.
    """
    data_dir = None if described.data_dir is None else Path(described.data_dir)
    kept = run.images_file
    dataset = load_dataset(str(kept) if kept.exists() else described.path, data_dir, resize=described.resize)
    if dataset.fingerprint != described.fingerprint:
        raise UsageError(
            f"the dataset '{described.path}' is not the one that was searched: its fingerprint is "
            f"{dataset.fingerprint}, was {described.fingerprint}; give the right one's --data-dir"
        )
    return dataset
