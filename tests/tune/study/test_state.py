"""The stamp of a study's state."""

import shutil

from tune.study.state import StudyState, weights_hash


def test_the_stamp_changes_with_the_budget_the_finalists_and_their_weights(study, tmp_path):
    first, other = study.checkpoint_dir("0001-conv-10d"), study.checkpoint_dir("0000-fc-4d")
    states = [
        StudyState.of({"a": first}, 3),
        StudyState.of({"a": first}, 4),
        StudyState.of({"b": first}, 3),
        StudyState.of({"a": other}, 3),
        StudyState.of({"a": first, "b": other}, 3),
    ]
    assert len({state.stamp for state in states}) == 5
    copied = shutil.copytree(first, tmp_path / "moved")
    assert StudyState.of({"a": copied}, 3).stamp == states[0].stamp


def test_the_order_of_the_finalists_does_not_matter():
    one, two = StudyState(max_epochs=3, weights={"a": "1", "b": "2"}), {"b": "2", "a": "1"}
    assert StudyState(max_epochs=3, weights=two).stamp == one.stamp


def test_a_checkpoint_that_is_gone_has_no_weights(tmp_path):
    assert weights_hash(tmp_path / "gone") is None
    assert StudyState.of({"a": tmp_path / "gone"}, 3) == StudyState(max_epochs=3)
