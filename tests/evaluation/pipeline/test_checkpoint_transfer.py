"""Checkpoints that travel to nodes that do not see them."""

import shutil

import numpy as np
import pytest

from evaluation.embedders import Ensemble, Images, Pca, Untrained, Vae, VaeUmap
from evaluation.pipeline.checkpoint_transfer import pack, unpack


@pytest.fixture
def vaes(study):
    ids = ("0000-fc-4d", "0001-conv-10d")
    return [Vae(name, study.checkpoint_dir(name), int(name.rpartition("-")[2][:-1])) for name in ids]


@pytest.mark.parametrize("make", [lambda a, b: a, lambda a, b: Untrained(b), lambda a, b: Ensemble((a, b))])
def test_an_embedder_works_where_its_checkpoints_are_not(vaes, few_digits, tmp_path, make):
    embedder, images = make(*vaes), Images.from_dataset(few_digits)
    here = next(embedder.embeddings(images))
    packed = pack(embedder)
    for vae in vaes:
        shutil.rmtree(vae.checkpoint)
    there = next(unpack(embedder, packed, tmp_path / "there").embeddings(images))
    assert there.key == here.key
    np.testing.assert_array_equal(there.test, here.test)


def test_what_is_on_this_disk_is_read_from_it(vaes, tmp_path):
    embedder = VaeUmap(vaes[0], (2,))
    assert unpack(embedder, pack(embedder), tmp_path) is embedder
    assert not list(tmp_path.glob("[0-9]*"))


def test_an_embedder_without_checkpoints_carries_nothing():
    assert pack(Pca((2,))) == {}
