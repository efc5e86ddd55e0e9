"""Images from names, folders, arrays and Parquet files: `load_dataset` reads them all."""

from vae.data.dataset import Dataset, load_dataset
from vae.data.images import Images, as_image_set, as_images, dataset_from_arrays, save_arrays
from vae.data.splits import ImageSet

__all__ = [
    "Dataset",
    "ImageSet",
    "Images",
    "as_image_set",
    "as_images",
    "dataset_from_arrays",
    "load_dataset",
    "save_arrays",
]
