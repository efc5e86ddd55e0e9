"""Data sets as uint8 tensors: Fashion-MNIST, MNIST, scikit-learn's digits, one's own images."""

import difflib
import gzip
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from vae.data.archives import ARCHIVES, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from vae.data.arrays import ImageArrays, read_npz
from vae.data.download import locate, read_verified
from vae.data.resize import check_resize, resize_images
from vae.errors import StorageError, UsageError

logger = logging.getLogger(__name__)

DATASETS = (*ARCHIVES, "digits")
OWN_SUFFIXES = (".npz", ".parquet")
HOLDOUT_SEED = 20_170_825  # day that Fashion-MNIST appeared; fixed: the test part must never change
HOLDOUT_FRACTION = 0.2
MIN_IMAGES = 10  # per class, or in all without labels: enough for the test part, validation and five folds


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images uint8 (n, C, H, W) with labels int64 (n,), or None."""

    images: Tensor
    labels: Tensor | None

    def __post_init__(self) -> None:
        assert self.images.dtype == torch.uint8, self.images.dtype
        assert self.images.ndim == 4, self.images.shape
        assert self.labels is None or self.labels.shape == (len(self.images),), self.labels.shape

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def n_classes(self) -> int:
        """One more than the highest label; 0 without labels."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def subset(self, index: Tensor) -> "ImageSet":
        """The rows of `index` (integers or a mask), in its order."""
        return ImageSet(self.images[index], None if self.labels is None else self.labels[index])

    def to(self, device: str | torch.device) -> "ImageSet":
        return ImageSet(self.images.to(device), None if self.labels is None else self.labels.to(device))


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


@dataclass(frozen=True, eq=False)
class Split:
    """Train and validation parts, and their rows (sorted) in the set that was split."""

    train: ImageSet
    validation: ImageSet
    train_index: Tensor
    validation_index: Tensor


def load_dataset(
    name_or_path: str | Path,
    data_dir: Path | None = None,
    *,
    download: bool = True,
    resize: int | None = None,
) -> Dataset:
    """Load `fmnist`, `mnist`, `digits`, or one's own images.

    Parameters
    ----------
    name_or_path
        A name of `DATASETS`; a folder of images or of class sub-folders (or of `train/` and `test/` that hold
        these); an `.npz` with `images` (n, H, W) or (n, H, W, C), and `labels`, `test_images`, `test_labels`
        if known; a `.parquet` file or a folder of such, see `vae.data.parquet.read_parquet`.
        Without a test part, a stratified 20 % is held out as one, always the same.
    data_dir
        Where downloads are kept; `$VAE_DATA_DIR`, else `data`, by default.
    download
        Whether missing files may be fetched.
    resize
        Pixels a side, 8 to 64: the shorter side of each image is scaled to it, and the middle cut out.
        Without it images must have one size already.

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
        return _load_own(path, resize)
    if path.is_file():
        raise UsageError(
            f"dataset {name_or_path!r} must be a folder, an .npz or a .parquet file, "
            f"got a {path.suffix or 'plain'} file"
        )
    close = difflib.get_close_matches(name_or_path, DATASETS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(
        f"unknown dataset {name_or_path!r}: must be {', '.join(DATASETS)}, "
        f"or the path of a folder, an .npz or a .parquet file{hint}"
    )


def split_validation(images: ImageSet, *, seed: int, fraction: float = 1 / 6) -> Split:
    """Split off a random validation part, stratified by class when there are labels; same seed, same split.

    Raises
    ------
    UsageError
        `fraction` outside (0, 1), or too few images for each class to be in both parts.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"validation fraction must be between 0 and 1, got {fraction:g}")
    labels = None if images.labels is None else images.labels.cpu().numpy()
    train_rows, validation_rows = stratified_rows(len(images), labels, fraction, seed)
    train_index = torch.from_numpy(train_rows).to(images.images.device)
    validation_index = torch.from_numpy(validation_rows).to(images.images.device)
    return Split(images.subset(train_index), images.subset(validation_index), train_index, validation_index)


def stratified_rows(
    n: int, labels: np.ndarray | None, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted rows of the larger and the smaller part, ``fraction`` of the ``n``, alike in classes."""
    n_split = round(n * fraction)
    n_classes = 1
    if labels is not None:
        classes, counts = np.unique(labels, return_counts=True)
        n_classes = len(classes)
        if counts.min() < 2:
            raise UsageError(
                f"cannot split: class {classes[counts.argmin()]} has 1 image, must be >= 2; "
                "add images or drop the class"
            )
    if min(n_split, n - n_split) < n_classes:
        raise UsageError(
            f"cannot split {n} images of {n_classes} classes into {n - n_split} and {n_split}: "
            "each part needs one image of each class; add images or change the fraction"
        )
    larger, smaller = train_test_split(np.arange(n), test_size=n_split, random_state=seed, stratify=labels)
    return np.sort(larger), np.sort(smaller)


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
    train, test = _hold_out_test(image_set(resize_images(images[..., None], resize), digits.target))
    return _dataset("digits", train, test, tuple("0123456789"), resize)


def _load_own(path: Path, resize: int | None) -> Dataset:
    try:
        own = _read_own(path, resize)
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
    train = image_set(arrays.images, arrays.labels)
    _check_enough(source, train, arrays.class_names)
    if arrays.test_images is None:
        train, test = _hold_out_test(train)
        logger.info("%s has no test part: %d of its images are set apart as one", source, len(test))
    else:
        test = image_set(arrays.test_images, arrays.test_labels)
    return _dataset(name, train, test, arrays.class_names, resize)


def _read_own(path: Path, resize: int | None) -> ImageArrays:
    if path.suffix == ".npz" and path.is_file():
        return read_npz(path, resize)
    # What the other formats need is imported only if they are used.
    if path.is_dir():
        from vae.data.folders import holds_images, read_folder

        if holds_images(path) or not any(path.glob("*.parquet")):
            return read_folder(path, resize)
    from vae.data.parquet import read_parquet

    return read_parquet(path, resize)


def _check_enough(source: str, train: ImageSet, class_names: tuple[str, ...]) -> None:
    if train.labels is None:
        if len(train) < MIN_IMAGES:
            raise UsageError(
                f"{source} has {len(train)} training images, must have >= {MIN_IMAGES}; add images"
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
        raise UsageError(
            f"class {class_names[fewest]!r} of {source} has {counts[fewest]} training images, "
            f"must have >= {MIN_IMAGES}; add images or drop the class"
        )


def _hold_out_test(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    split = split_validation(images, seed=HOLDOUT_SEED, fraction=HOLDOUT_FRACTION)
    return split.train, split.validation


def image_set(images: np.ndarray, labels: np.ndarray | None) -> ImageSet:
    """Return images uint8 (n, H, W, C) and labels (n,) as tensors."""
    return ImageSet(
        torch.from_numpy(np.array(images.transpose(0, 3, 1, 2), order="C")),
        None if labels is None else torch.from_numpy(labels.astype(np.int64)),
    )


def _dataset(
    name: str, train: ImageSet, test: ImageSet, class_names: tuple[str, ...], resize: int | None
) -> Dataset:
    digest = hashlib.sha256()
    for part in (train, test):
        digest.update(repr(tuple(part.images.shape)).encode())
        digest.update(part.images.numpy().data)
        digest.update(b"unlabelled" if part.labels is None else part.labels.numpy().data)
    return Dataset(name, train, test, class_names, fingerprint=digest.hexdigest()[:16], resize=resize)
