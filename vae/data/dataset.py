"""Data sets as uint8 tensors: Fashion-MNIST, MNIST, scikit-learn's digits, one's own images."""

import difflib
import gzip
import hashlib
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vae.data.arrays import ImageArrays
from vae.data.download import (
    ARCHIVES,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    locate,
    read_verified,
)
from vae.data.memory import ROWS_AT_ONCE
from vae.data.npz import npy_files, read_npy, read_npz
from vae.data.resize import check_resize, resize_images
from vae.data.splits import ImageSet, Sources, Split, hold_out_test, near_copy_share
from vae.errors import StorageError, UsageError, count_text, notes_kept_back

logger = logging.getLogger(__name__)

DATASETS = (*ARCHIVES, "digits")
OWN_SUFFIXES = (".npz", ".npy", ".parquet")
MANY_NEAR_COPIES = 0.5
"""Share of the test images; the published data sets have 0.17 at most, see docs/experiments.md."""
MIN_IMAGES = 10  # per class, or in all without labels: enough for the test part, validation and five folds


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set with its test part, which search and selection must not touch."""

    name: str
    train: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]
    """Name of label i at place i; empty without labels."""
    fingerprint: str
    """Changes with any image or label."""
    resize: int | None = None
    """Pixels a side to which its images were resized; None if they were not."""
    sources: tuple[Sources, Sources] | None = None
    """Where the training and the test images are from; None if that is not known."""


def load_dataset(
    name_or_path: str | Path,
    data_dir: Path | None = None,
    *,
    download: bool = True,
    resize: int | None = None,
    on_disk: bool = False,
) -> Dataset:
    """Load `fmnist`, `mnist`, `digits`, or one's own images.

    Parameters
    ----------
    name_or_path
        A name of `DATASETS`; a folder of images or of class sub-folders (or of `train/` and `test/` that hold
        these); an `.npz` with `images` (n, H, W) or (n, H, W, C), and `labels`, `test_images`, `test_labels`
        if known, or with Keras' or MedMNIST's names, see `vae.data.npz`; a folder of these as `images.npy`
        and so on, or a single `.npy` of images; a `.parquet` file or a folder of such, see
        `vae.data.parquet.read_parquet`.
        Without a test part, a stratified 20 % is held out as one, always the same.
    data_dir
        Where downloads are kept; `$VAE_DATA_DIR`, else `data`, by default.
    download
        Whether missing files may be fetched.
    resize
        Pixels a side, 8 to 64: the shorter side of each image is scaled to it, and the middle cut out.
        Without it images must have one size already.
    on_disk
        Whether images of `.npy` files, uint8, may stay in their files where memory cannot hold them. Training
        on the CPU takes them from there.

    Raises
    ------
    UsageError
        Unknown name; images or labels that cannot be used; ``resize`` out of range.
    StorageError
        Files that cannot be found, read or trusted.

    Examples
    --------
    >>> digits = load_dataset("digits")
    >>> len(digits.train), len(digits.test), digits.train.image_shape
    (1438, 359, (1, 8, 8))
    """
    check_resize(resize)
    name_or_path = str(name_or_path)
    if name_or_path in ARCHIVES:
        return _load_archive(name_or_path, locate(name_or_path, data_dir, download=download), resize)
    if name_or_path == "digits":
        return _load_digits(resize)
    path = Path(name_or_path).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix in OWN_SUFFIXES):
        with notes_kept_back():
            return _load_own(path, resize, on_disk)
    if path.is_file():
        raise UsageError(
            f"dataset {name_or_path!r} must be a folder or an .npz, .npy or .parquet file, "
            f"got a {path.suffix or 'plain'} file"
        )
    close = difflib.get_close_matches(name_or_path, DATASETS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(
        f"unknown dataset {name_or_path!r}: must be {', '.join(DATASETS)}, "
        f"or the path of a folder or of an .npz, .npy or .parquet file{hint}"
    )


def _load_archive(name: str, directory: Path, resize: int | None) -> Dataset:
    arrays = {
        file: _parse_idx(read_verified(directory / file, checksums))
        for file, checksums in ARCHIVES[name].checksums.items()
    }
    return _dataset(
        name,
        image_set(resize_images(arrays[TRAIN_IMAGES][..., None], resize), arrays[TRAIN_LABELS]),
        image_set(resize_images(arrays[TEST_IMAGES][..., None], resize), arrays[TEST_LABELS]),
        ARCHIVES[name].class_names,
        resize,
        (
            Sources.of_rows("train", len(arrays[TRAIN_IMAGES])),
            Sources.of_rows("test", len(arrays[TEST_IMAGES])),
        ),
    )


def _parse_idx(compressed: bytes) -> np.ndarray:
    """A gzipped IDX file of bytes: two zeros, type, number of dimensions, big-endian sizes, data."""
    content = gzip.decompress(compressed)
    n_dims = content[3]
    shape = np.frombuffer(content, ">u4", count=n_dims, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_dims).reshape(shape)


def _load_digits(resize: int | None) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    split = hold_out_test(image_set(resize_images(images[..., None], resize), digits.target))
    sources = Sources.of_rows("train", len(split.train)), Sources.of_rows("test", len(split.validation))
    return _dataset("digits", split.train, split.validation, tuple("0123456789"), resize, sources)


def _divided(sources: Sources, split: Split) -> tuple[Sources, Sources]:
    return sources.subset(split.train_index.numpy()), sources.subset(split.validation_index.numpy())


def _load_own(path: Path, resize: int | None, on_disk: bool) -> Dataset:
    try:
        own = _read_own(path, resize, on_disk)
    except OSError as error:
        raise StorageError(
            f"cannot read {error.filename or path}: {error.strerror}; check its permissions"
        ) from None
    name = path.resolve().stem if path.suffix in OWN_SUFFIXES else path.resolve().name
    return build_dataset(own, name, str(path), resize)


def build_dataset(arrays: ImageArrays, name: str, source: str, resize: int | None = None) -> Dataset:
    """Return the data set of checked arrays; 20 % are held out as a test part if they have none.

    ``resize`` says what was done to the images, see `Dataset`.

    Raises
    ------
    UsageError
        There are too few images; the message calls them ``source``.
    """
    train = image_set(arrays.images, arrays.labels, arrays.groups)
    _check_enough(source, train, arrays.class_names)
    if arrays.test_images is None:
        split = hold_out_test(train)
        train, test = split.train, split.validation
        sources = None if arrays.sources is None else _divided(arrays.sources, split)
        logger.info("%s has no test part: a fifth of its images is set apart as one, %d", source, len(test))
    else:
        test = image_set(arrays.test_images, arrays.test_labels, arrays.test_groups)
        sources = None
        if arrays.sources is not None and arrays.test_sources is not None:
            sources = arrays.sources, arrays.test_sources
        _warn_of_groups_in_both(source, train, test)
    dataset = _dataset(name, train, test, arrays.class_names, resize, sources)
    _warn_of_near_copies(source, dataset)
    return dataset


def _warn_of_groups_in_both(source: str, train: ImageSet, test: ImageSet) -> None:
    if train.groups is None or test.groups is None:
        return
    shared = np.intersect1d(train.groups.numpy(), test.groups.numpy())
    if len(shared):
        logger.warning(
            "%s: images of %d of the groups are in both of the training and the test part, so that the "
            "accuracy on test images may be too high",
            source,
            len(shared),
        )


_compared: set[str] = set()
"""Fingerprints of what was looked through for near copies: a search and its evaluation read it in turn."""


def _warn_of_near_copies(source: str, dataset: Dataset) -> None:
    if dataset.train.groups is not None or dataset.fingerprint in _compared:
        return
    _compared.add(dataset.fingerprint)
    share = near_copy_share(dataset.train, dataset.test)
    if share > MANY_NEAR_COPIES:
        logger.warning(
            "%s: %.0f %% of the test images have a near copy among the training images (frames of one "
            "video, say), so that the accuracy on test images may be too high; name what belongs together in "
            "a column 'group' of a .parquet file, or in an array 'groups' of an .npz",
            source,
            100 * share,
        )


def _read_own(path: Path, resize: int | None, on_disk: bool) -> ImageArrays:
    if npy_files(path):
        return read_npy(path, resize, on_disk=on_disk)
    if path.suffix == ".npz" and path.is_file():
        return read_npz(path, resize)
    # What the other formats need is imported only if they are used.
    if path.is_dir():
        from vae.data.folders import holds_images, parquet_folder, read_folder

        inside = parquet_folder(path)
        if inside is None or holds_images(inside):
            return read_folder(path, resize)
        path = inside
    from vae.data.parquet import read_parquet

    return read_parquet(path, resize)


def _check_enough(source: str, train: ImageSet, class_names: tuple[str, ...]) -> None:
    if train.labels is None:
        if len(train) < MIN_IMAGES:
            raise UsageError(
                f"{source} has {count_text(len(train), 'training image')}, must have >= {MIN_IMAGES}; "
                "add images"
            )
        return
    if len(class_names) < 2:
        raise UsageError(
            f"{source} has one class, {class_names[0]!r}; labels need at least two classes; add a class, or "
            "give the images without labels"
        )
    counts = torch.bincount(train.labels, minlength=len(class_names))
    if counts.min() < MIN_IMAGES:
        fewest = int(counts.argmin())
        found = count_text(int(counts[fewest]), "training image")
        raise UsageError(
            f"class {class_names[fewest]!r} of {source} has {found}, must have >= {MIN_IMAGES}; "
            "add images or drop the class"
        )


def image_set(images: np.ndarray, labels: np.ndarray | None, groups: np.ndarray | None = None) -> ImageSet:
    """Return images uint8 (n, H, W, C), labels (n,) and groups (n,) as tensors."""
    channels_first = images.transpose(0, 3, 1, 2)
    if isinstance(images, np.memmap):  # stays in its file, which is read-only; nothing writes to images
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            tensor = torch.from_numpy(channels_first)
    else:
        tensor = torch.from_numpy(np.array(channels_first, order="C"))
    return ImageSet(
        tensor,
        None if labels is None else torch.from_numpy(labels.astype(np.int64)),
        None if groups is None else torch.from_numpy(groups.astype(np.int64)),
    )


def _dataset(
    name: str,
    train: ImageSet,
    test: ImageSet,
    class_names: tuple[str, ...],
    resize: int | None,
    sources: tuple[Sources, Sources] | None,
) -> Dataset:
    digest = hashlib.sha256()
    for part in (train, test):
        digest.update(repr(tuple(part.images.shape)).encode())
        for rows in part.images.split(ROWS_AT_ONCE):
            digest.update(rows.contiguous().numpy().data)
        digest.update(b"unlabelled" if part.labels is None else part.labels.numpy().data)
        if part.groups is not None:  # they decide which images are for validation
            digest.update(b"groups")
            digest.update(part.groups.numpy().data)
    return Dataset(name, train, test, class_names, digest.hexdigest()[:16], resize, sources)
