"""The digits dataset and quick embeddings of it."""

import pytest
import torch

from evaluation.embedders import Images
from vae.data import Dataset, ImageSet, load_dataset


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def images(digits) -> Images:
    return Images.from_dataset(digits)


@pytest.fixture(scope="session")
def few_digits(digits) -> Dataset:
    """The first 300 training and 100 test images."""
    train, test = digits.train.subset(torch.arange(300)), digits.test.subset(torch.arange(100))
    return Dataset("digits", train, test, digits.class_names, "few")


@pytest.fixture(scope="session")
def unlabelled(few_digits) -> Dataset:
    train, test = (ImageSet(part.images, None) for part in (few_digits.train, few_digits.test))
    return Dataset("unlabelled", train, test, (), "unlabelled")
