"""What a caller has as images, arrays, tensors, a data set or its name, as tensors and as a data set."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vae.atomic import replaced_file
from vae.data.arrays import ImageArrays, check_arrays
from vae.data.dataset import Dataset, build_dataset, image_set, load_dataset
from vae.data.resize import check_resize, resize_images
from vae.data.splits import ImageSet
from vae.errors import UsageError

Images = np.ndarray | Tensor | ImageSet | Dataset | str | Path
"""Arrays (n, H, W) or (n, H, W, C) and tensors (n, C, H, W), uint8 or floats in [0, 1]; or a data set, its
name or its path, of which the training part is meant."""


def as_images(images: Images, resize: int | None = None) -> Tensor:
    """Return images of any accepted form as a tensor; ``resize`` is that of `load_dataset`.

    Returns
    -------
    Tensor
        uint8 (n, C, H, W).

    Raises
    ------
    UsageError
        They have another shape or type, or values that are no pixels.
    StorageError
        A data set cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> as_images(np.ones((5, 28, 28))).shape
    torch.Size([5, 1, 28, 28])
    >>> as_images(np.full((5, 28, 28), 7.0))
    Traceback (most recent call last):
        ...
    vae.errors.UsageError: images have values from 7 to 7, floats must be in [0, 1]; rescale them
    """
    return as_image_set(images, resize=resize).images


def as_image_set(images: Images, labels: ArrayLike | None = None, *, resize: int | None = None) -> ImageSet:
    """Return images as `as_images` does, with their labels; those of a data set by default.

    Raises
    ------
    UsageError, StorageError
        As `as_images`; or the labels are no classes, or not one for each image.
    """
    check_resize(resize)
    known = _known_set(images, resize)
    if known is not None and labels is None:
        return known
    arrays = check_arrays(_array(images, resize), _labels(labels), resize=resize)
    return image_set(arrays.images, arrays.labels)


def as_train_and_validation(
    images: Images,
    labels: ArrayLike | None,
    validation_images: Images,
    validation_labels: ArrayLike | None,
    resize: int | None = None,
) -> tuple[ImageSet, ImageSet]:
    """Return both parts as `as_image_set` does; the classes are those of the training part.

    Raises
    ------
    UsageError, StorageError
        As `as_image_set`; or the parts have images of different sizes, or one of them has no labels.
    """
    check_resize(resize)
    known, other = _known_set(images, resize), _known_set(validation_images, resize)
    if labels is None and known is not None:
        labels = known.labels
    if validation_labels is None and other is not None and labels is not None:
        validation_labels = other.labels
    arrays = _checked(images, labels, validation_images, validation_labels, part="validation", resize=resize)
    assert arrays.test_images is not None
    return image_set(arrays.images, arrays.labels), image_set(arrays.test_images, arrays.test_labels)


def dataset_from_arrays(
    images: Images,
    labels: ArrayLike | None = None,
    *,
    test_images: Images | None = None,
    test_labels: ArrayLike | None = None,
    name: str = "arrays",
    resize: int | None = None,
) -> Dataset:
    """Return a data set of arrays, the same as `load_dataset` returns for an `.npz` of them.

    Parameters
    ----------
    images, test_images
        See `as_images`. Without a test part, a stratified 20 % is held out as one, always the same.
    labels, test_labels
        Class of each image (n,), whole numbers or names; by default those of a data set that is given.
    name
        What the data set is called.
    resize
        See `load_dataset`; by default what was done to a data set that is given.

    Raises
    ------
    UsageError
        Images or labels cannot be used, or there are too few.

    Examples
    --------
    >>> import numpy as np
    >>> images, labels = np.zeros((50, 8, 8)), ["cat", "dog"] * 25
    >>> dataset = dataset_from_arrays(images, labels)
    >>> len(dataset.train), len(dataset.test), dataset.class_names
    (40, 10, ('cat', 'dog'))
    """
    if resize is None and isinstance(images, Dataset):
        resize = images.resize
    labels, groups = _known_labels_and_groups(images, labels)
    arrays = _checked(images, labels, test_images, test_labels, resize=resize, groups=groups)
    return build_dataset(arrays, name, f"the data set {name!r}", resize)


def save_arrays(
    path: Path,
    images: Images,
    labels: ArrayLike | None = None,
    *,
    test_images: Images | None = None,
    test_labels: ArrayLike | None = None,
    resize: int | None = None,
) -> None:
    """Write arrays to an `.npz`, of which `load_dataset` makes the data set of `dataset_from_arrays`.

    With ``resize`` it holds them as they are afterwards.

    Raises
    ------
    UsageError
        Images or labels cannot be used.
    StorageError
        The file cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> images, labels = np.zeros((50, 8, 8)), ["cat", "dog"] * 25
    >>> save_arrays(Path("pets.npz"), images, labels)
    >>> dataset_from_arrays(images, labels).fingerprint == load_dataset("pets.npz").fingerprint
    True
    """
    labels, groups = _known_labels_and_groups(images, labels)
    arrays = _checked(images, labels, test_images, test_labels, resize=resize, groups=groups)
    content: dict[str, Any] = {"images": arrays.images, "test_images": arrays.test_images}
    content |= {"labels": _labels(labels), "test_labels": _labels(test_labels), "groups": arrays.groups}
    with replaced_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **{name: array for name, array in content.items() if array is not None})


def _checked(
    images: Images,
    labels: ArrayLike | None,
    test_images: Images | None,
    test_labels: ArrayLike | None,
    *,
    part: str = "test",
    resize: int | None,
    groups: NDArray[np.int64] | None = None,
) -> ImageArrays:
    check_resize(resize)
    return check_arrays(
        _array(images, resize),
        _labels(labels),
        None if test_images is None else _array(test_images, resize),
        _labels(test_labels),
        part=part,
        resize=resize,
        groups=groups,
    )


def _known_labels_and_groups(
    images: Images, labels: ArrayLike | None
) -> tuple[ArrayLike | None, NDArray[np.int64] | None]:
    """Return the labels, by default those of a data set, and its groups."""
    names: tuple[str, ...] = ()
    if isinstance(images, Dataset):
        names, images = images.class_names, images.train
    if not isinstance(images, ImageSet):
        return labels, None
    if labels is None and images.labels is not None:
        known = images.labels.cpu().numpy()
        labels = np.array(names)[known] if names else known
    return labels, None if images.groups is None else images.groups.cpu().numpy()


def _known_set(images: Images, resize: int | None) -> ImageSet | None:
    """Return the images that are checked already, those of a data set; None if they are arrays."""
    if isinstance(images, str | Path):
        images = load_dataset(images, resize=resize)
    if isinstance(images, Dataset):
        images = images.train
    if not isinstance(images, ImageSet):
        return None
    if resize is None or images.image_shape[1:] == (resize, resize):
        return images
    channels_last = images.images.permute(0, 2, 3, 1).cpu().numpy()
    labels, groups = (None if v is None else v.cpu().numpy() for v in (images.labels, images.groups))
    return image_set(resize_images(channels_last, resize), labels, groups)


def _array(images: Images, resize: int | None) -> NDArray[Any]:
    """Return images as an array, with the channels last."""
    known = _known_set(images, resize)
    array = images if known is None else known.images
    if isinstance(array, Tensor):
        channels_last = array.permute(0, 2, 3, 1) if array.ndim == 4 else array
        return channels_last.detach().cpu().numpy()
    try:
        return np.asarray(array)
    except ValueError:
        raise UsageError("images must be one array (n, H, W) or (n, H, W, C), got several sizes") from None


def _labels(labels: ArrayLike | None) -> NDArray[Any] | None:
    if labels is None:
        return None
    array = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.dtype == object and all(isinstance(label, str) for label in array.flat):  # pandas has text so
        return array.astype(np.str_)
    return array
