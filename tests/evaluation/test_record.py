"""evaluation.json as a dataclass."""

import json
from dataclasses import replace

import pytest

from evaluation.record import EvaluatedDataset, EvaluationRecord
from tune.study.state import StudyState
from vae.errors import StorageError

RECORD = EvaluationRecord(
    study="tiny",
    created_at="2026-01-02T03:04:05+00:00",
    command=("evaluation", "runs/tiny"),
    n_train=1437,
    n_test=359,
    dataset=EvaluatedDataset(name="digits", fingerprint="abc", class_names=("0", "1")),
    finalists=("0001-conv-10d",),
    training_seeds={"0001-conv-10d": 3},
    trained_with_labels=(),
    checkpoints={"0001-conv-10d": "checkpoints/0001-conv-10d"},
    gaps=("KNN accuracy: the dataset has no labels",),
)


def test_what_is_written_is_read_back(tmp_path):
    RECORD.write(tmp_path / "evaluation.json")
    assert EvaluationRecord.read(tmp_path / "evaluation.json") == RECORD


def test_the_state_that_was_evaluated_is_read_back(tmp_path):
    record = replace(RECORD, state=StudyState(max_epochs=4, weights={"0001-conv-10d": "ab12"}), test_uses=2)
    record.write(tmp_path / "evaluation.json")
    assert EvaluationRecord.read(tmp_path / "evaluation.json") == record


def test_the_file_has_the_keys_that_it_always_had(tmp_path):
    RECORD.write(tmp_path / "evaluation.json")
    assert list(json.loads((tmp_path / "evaluation.json").read_text())) == [
        "study", "created_at", "command", "n_train", "n_test", "dataset", "finalists", "training_seeds",
        "trained_with_labels", "checkpoints", "seed", "seconds", "from_earlier", "gaps",
    ]  # fmt: skip


def test_an_embedding_without_models_has_no_word_of_finalists(tmp_path):
    EvaluationRecord(study="mine").write(tmp_path / "evaluation.json")
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert not {"finalists", "training_seeds", "trained_with_labels", "checkpoints"} & content.keys()


def test_a_file_of_another_version_is_read_with_defaults_and_without_its_own_keys(tmp_path):
    file = tmp_path / "evaluation.json"
    file.write_text('{"study": "old", "finalists": ["a"], "dataset": {"name": "digits"}, "later": 1}')
    assert EvaluationRecord.read(file) == EvaluationRecord(
        study="old", finalists=("a",), dataset=EvaluatedDataset(name="digits")
    )


@pytest.mark.parametrize("content", ["[]", "{", '{"dataset": 3}'])
def test_a_damaged_file_is_a_storage_error(tmp_path, content):
    (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(StorageError, match=r"cannot read .*evaluation.json"):
        EvaluationRecord.read(tmp_path / "evaluation.json")


def test_a_file_that_is_not_there_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="it does not exist"):
        EvaluationRecord.read(tmp_path / "evaluation.json")
