"""Checkpoints that travel to nodes that do not see them."""

import pickle
import shutil

import numpy as np
import pytest

from evaluation.embedders import Checkpoint, Ensemble, Images, Pca, Untrained, Vae, VaeUmap
from vae.errors import StorageError


@pytest.fixture
def vaes(study):
    ids = ("0000-fc-4d", "0001-conv-10d")
    return [
        Vae(name, Checkpoint(study.checkpoint_dir(name)), int(name.rpartition("-")[2][:-1])) for name in ids
    ]


@pytest.mark.parametrize("make", [lambda a, b: a, lambda a, b: Untrained(b), lambda a, b: Ensemble((a, b))])
def test_an_embedder_works_where_its_checkpoints_are_not(vaes, few_digits, make):
    embedder, images = make(*vaes), Images.from_dataset(few_digits)
    here = next(embedder.embeddings(images))
    sent = pickle.dumps(embedder)
    for vae in vaes:
        shutil.rmtree(vae.checkpoint.directory)
    there = next(pickle.loads(sent).embeddings(images))
    assert there.key == here.key
    np.testing.assert_array_equal(there.test, here.test)


def test_what_was_not_sent_is_read_from_its_own_directory(vaes):
    with vaes[0].checkpoint.on_disk() as directory:
        assert directory == vaes[0].checkpoint.directory


def test_files_that_were_sent_are_removed_after_their_use(vaes):
    with pickle.loads(pickle.dumps(vaes[0])).checkpoint.on_disk() as directory:
        assert sorted(file.name for file in directory.iterdir()) == ["config.json", "model.safetensors"]
    assert not directory.exists()


def test_a_lost_checkpoint_can_be_sent_and_is_an_error_where_it_is_used(vaes, few_digits):
    shutil.rmtree(vaes[0].checkpoint.directory)
    sent = pickle.loads(pickle.dumps(vaes[0]))
    with pytest.raises(StorageError, match="0000-fc-4d is not a checkpoint"):
        next(sent.embeddings(Images.from_dataset(few_digits)))


def test_its_text_is_that_of_its_contents_wherever_they_lie(vaes):
    checkpoint, other = (vae.checkpoint for vae in vaes)
    assert repr(pickle.loads(pickle.dumps(checkpoint))) == repr(checkpoint) != repr(other)
    assert str(checkpoint.directory) not in repr(checkpoint)


def test_an_embedder_without_checkpoints_carries_nothing(vaes):
    size = len((vaes[0].checkpoint.directory / "model.safetensors").read_bytes())
    assert len(pickle.dumps(Pca((2,)))) < 200 < size < len(pickle.dumps(VaeUmap(vaes[0], (2,))))
