"""Images from names, folders, arrays and Parquet files: `load_dataset` reads them all."""

from vae.data.dataset import Dataset, ImageSet, load_dataset

__all__ = ["Dataset", "ImageSet", "load_dataset"]
