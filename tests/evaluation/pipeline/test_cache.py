"""A second evaluation computes what is missing; a killed one keeps what it has finished."""

import os
import shutil
import time
from pathlib import Path

import pytest

from evaluation import api
from evaluation.embedders import Pca, Umap
from evaluation.embedders.files import embedding_file, read_embedding
from evaluation.pipeline import serial
from evaluation.pipeline.cache import signature
from evaluation.pipeline.plan import vae_embedder
from evaluation.pipeline.serial import Embedded, Scored
from evaluation.record import EvaluationRecord
from evaluation.scores.settings import KnnGrid
from tests.evaluation.conftest import BEST, SECOND
from tests.s3_server import ACCESS_DENIED, BUCKET
from tune.storage.mirror import LeaseLost
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table

BOTH = dict(methods=["pca", "vae"], dims=[2])


class Watched:
    """The serial evaluation, which remembers what it was asked for and may break off."""

    def __init__(self, stop_before=None):
        self.asked, self.stop_before = [], stop_before

    def __call__(self, images, embedders, grid):
        self.asked = [key.method for embedder in embedders for key in embedder.keys]
        for event in serial.compute(images, embedders, grid):
            if self.stop_before is not None and self.stop_before(event):
                raise KeyboardInterrupt
            yield event


def content(run):
    files = [run.evaluations_file, run.predictions_file, *sorted(run.embeddings_dir.rglob("*.parquet"))]
    return {file: read_table(file) for file in files}


def evaluate(run, options, **watched):
    compute = Watched(**watched)
    api.evaluate(run, **options, compute=compute, progress=False)
    return compute.asked


def test_a_second_evaluation_computes_only_what_is_missing(study):
    assert evaluate(study, dict(methods=["pca"], dims=[2])) == ["pca"]
    assert evaluate(study, BOTH) == ["vae", "vae", "vae"]
    first = content(study)
    assert evaluate(study, BOTH) == []
    again = content(study)
    assert again.keys() == first.keys()
    assert all(again[file].equals(first[file]) for file in first)


def test_a_method_that_comes_back_is_not_computed_again(study):
    evaluate(study, BOTH)
    evaluate(study, dict(methods=["raw"]))
    assert set(read_table(study.evaluations_file)["method"].to_pylist()) == {"raw"}
    assert evaluate(study, BOTH) == []
    assert set(read_table(study.evaluations_file)["method"].to_pylist()) == {"pca", "vae"}


def test_a_killed_evaluation_keeps_what_it_has_finished(study):
    last = []

    def in_the_second_vae(event):
        last.append(event)
        return len({e.key for e in last if isinstance(e, Embedded) and e.key.method == "vae"}) == 2

    with pytest.raises(KeyboardInterrupt):
        evaluate(study, BOTH, stop_before=in_the_second_vae)
    assert not list(study.cache_dir.glob("*.part"))
    assert evaluate(study, BOTH) == ["vae", "vae"]
    whole = content(study)
    shutil.rmtree(study.cache_dir)
    evaluate(study, BOTH)
    for file, table in content(study).items():
        names = [name for name in table.column_names if name != "seconds"]
        assert table.select(names).equals(whole[file].select(names))


def test_a_killed_evaluation_of_a_run_under_a_uri_goes_on_elsewhere(s3, study_uri, tmp_path):
    n_vaes = []

    def in_the_second_vae(event):
        n_vaes.extend([event.key] if isinstance(event, Embedded) and event.key.method == "vae" else [])
        return len(n_vaes) == 2

    def kept():
        return {key.split("/")[3] for key in s3.keys(f"{tmp_path.name}/tiny/.evaluated")}

    with pytest.raises(KeyboardInterrupt):
        evaluate(RunDirectory.open(study_uri), BOTH, stop_before=in_the_second_vae)
    assert len(kept()) == 2
    elsewhere = RunDirectory.open(study_uri)
    assert not elsewhere.cache_dir.exists()
    assert evaluate(elsewhere, BOTH) == ["vae", "vae"]
    assert kept() == set()
    assert set(read_table(elsewhere.evaluations_file)["method"].to_pylist()) == {"pca", "vae"}


def test_of_an_entry_that_was_sent_in_part_nothing_is_used(s3, study_uri):
    run = RunDirectory.open(study_uri)
    run.fetch(run.checkpoints_dir)
    s3.fault = lambda method, path, query: ACCESS_DENIED if ".evaluated" in path and "name=" in path else None
    with pytest.raises(KeyboardInterrupt):
        evaluate(run, BOTH, stop_before=lambda event: event.key.method == "vae")
    s3.serve()
    assert s3.keys(run.mirror.remote_path(run.cache_dir).removeprefix(f"{BUCKET}/"))
    assert len(evaluate(RunDirectory.open(study_uri), BOTH)) == 4


def test_what_cannot_be_sent_on_the_way_does_not_end_an_evaluation(s3, study_uri, caplog):
    run = RunDirectory.open(study_uri)
    s3.fault = lambda method, path, query: ACCESS_DENIED if ".evaluated" in path and method == "PUT" else None
    assert len(evaluate(run, BOTH)) == 4
    assert "cannot write" in caplog.text
    assert RunDirectory.open(study_uri).evaluations_file.exists()


def test_an_evaluation_that_another_process_has_taken_over_ends_and_overwrites_nothing(study_uri):
    run, elsewhere = RunDirectory.open(study_uri), RunDirectory.open(study_uri)

    def take_over(event):
        elsewhere.mirror.delete(elsewhere.path / ".claims")
        return False

    with pytest.raises(LeaseLost, match="another process has taken over"):
        evaluate(run, BOTH, stop_before=take_over)
    assert not RunDirectory.open(study_uri).evaluations_file.exists()
    assert not run.evaluations_file.exists()  # it ended with the first embedding that it could not send


def test_what_no_evaluation_has_used_for_a_month_is_removed(study):
    evaluate(study, dict(methods=["pca"], dims=[2]))
    (pca,) = study.cache_dir.iterdir()
    long_ago = time.time() - 40 * 24 * 3600
    os.utime(pca, (long_ago, long_ago))
    evaluate(study, dict(methods=["pca"], dims=[3]))
    assert not pca.exists()
    (other,) = study.cache_dir.iterdir()
    recently = time.time() - 20 * 24 * 3600
    os.utime(other, (recently, recently))
    assert evaluate(study, dict(methods=["pca"], dims=[3])) == []
    assert other.stat().st_mtime > recently + 1


def test_what_a_killed_process_left_half_done_is_removed(study):
    (study.cache_dir / f"{'0123' * 6}.part").mkdir(parents=True)
    evaluate(study, BOTH)
    assert not list(study.cache_dir.glob("*.part"))


def somebodys(directory):
    """Fill a directory with what is no cache: old folders, one of them half downloaded."""
    long_ago = time.time() - 40 * 24 * 3600
    for name in ("thesis", "video.part", "abc", "0123456789abcdef01234567-2"):
        (directory / name).mkdir(parents=True)
        (directory / name / "file").write_text("mine")
        os.utime(directory / name, (long_ago, long_ago))
    return sorted(directory.iterdir())


def test_nothing_is_removed_that_is_no_entry(study):
    there = somebodys(study.cache_dir)
    evaluate(study, dict(methods=["pca"], dims=[2]))
    assert set(there) <= set(study.cache_dir.iterdir())


def test_nothing_is_removed_behind_a_link(study, tmp_path):
    home = tmp_path / "home"
    there = somebodys(home)
    long_ago = time.time() - 40 * 24 * 3600
    entry = home / ("0123" * 6)  # of another run that keeps its cache there
    entry.mkdir()
    os.utime(entry, (long_ago, long_ago))
    study.cache_dir.symlink_to(home)
    evaluate(study, dict(methods=["pca"], dims=[2]))
    assert {*there, entry} <= set(home.iterdir())
    study.cache_dir.unlink()
    study.cache_dir.mkdir()
    (study.cache_dir / ("4567" * 6 + ".part")).symlink_to(home)
    evaluate(study, dict(methods=["pca"], dims=[2]))
    assert {*there, entry} <= set(home.iterdir())


def test_a_gap_is_tried_again(study):
    def lost(images, embedders, grid):
        for event in serial.compute(images, embedders, grid):
            if isinstance(event, Scored) and str(event.round) == "test":
                yield serial.MissingScore(event.key, event.round, "its worker was killed")
            else:
                yield event

    options = dict(methods=["pca"], dims=[2])
    api.evaluate(study, **options, compute=lost, progress=False)
    assert "its worker was killed" in EvaluationRecord.read(study.evaluation_file).gaps[-1]
    assert embedding_file(study.embeddings_dir, Pca((2,)).keys[0]).exists()
    assert evaluate(study, options) == ["pca"]
    assert not [gap for gap in EvaluationRecord.read(study.evaluation_file).gaps if "killed" in gap]


def test_a_damaged_entry_is_computed_again(study, caplog):
    evaluate(study, BOTH)
    for file in study.cache_dir.glob("*/scores.parquet"):
        file.write_bytes(b"junk")
    assert len(evaluate(study, BOTH)) == 4
    assert "it is computed again" in caplog.text


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"")], ids=["lost", "empty"])
def test_an_entry_without_its_embeddings_is_computed_again(study, damage):
    evaluate(study, BOTH)
    for file in study.cache_dir.rglob("part-0.parquet"):
        damage(file)
    assert len(evaluate(study, BOTH)) == 4


def test_embeddings_are_the_files_that_they_were(study):
    evaluate(study, BOTH)
    key = Pca((2,)).keys[0]
    first = read_embedding(study.embeddings_dir, key)
    evaluate(study, BOTH)
    assert (read_embedding(study.embeddings_dir, key).test == first.test).all()


def test_the_signature_tells_apart_whatever_gives_other_results(study, digits):
    grid = KnnGrid()
    best, second = (vae_embedder(t, study.checkpoint_dir(t), digits) for t in (BEST, SECOND))
    different = [
        signature(Pca((2,)), "a", grid),
        signature(Pca((2, 3)), "a", grid),
        signature(Pca((2,)), "b", grid),
        signature(Pca((2,)), "a", KnnGrid(n_folds=4)),
        signature(Umap((2,)), "a", grid),
        signature(Umap((2,), seed=1), "a", grid),
        signature(best, "a", grid),
        signature(second, "a", grid),
    ]
    assert len(set(different)) == len(different)
    (second.checkpoint.directory / "model.safetensors").write_bytes(b"other weights")
    assert signature(second, "a", grid) not in different


def test_the_signature_of_a_vae_is_that_of_its_weights_wherever_they_lie(study, digits, tmp_path):
    moved = shutil.copytree(study.checkpoint_dir(BEST), tmp_path / "moved")
    here, there = (vae_embedder(BEST, path, digits) for path in (study.checkpoint_dir(BEST), moved))
    assert signature(here, "a", KnnGrid()) == signature(there, "a", KnnGrid())
