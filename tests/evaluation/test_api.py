import logging
import shutil

import numpy as np
import pytest
from rich.console import Console

import vae
from evaluation.analysis.finalists import finalist_rows, fresh_seed_keys
from evaluation.analysis.results import Results
from evaluation.analysis.statements import labels_sentence
from evaluation.api import evaluate
from evaluation.embedders import EmbeddingKey, Images
from evaluation.embedders.files import embedding_file, read_embedding
from evaluation.export import sample_images
from evaluation.pipeline import serial
from evaluation.record import EvaluationRecord
from evaluation.report.compare_studies import compare_runs
from evaluation.result_tables import EVALUATIONS, PREDICTIONS
from evaluation.scores.structure import STRUCTURE
from tests.evaluation.broken_embedders import Raising
from tests.evaluation.conftest import BEST, SECOND
from tune.storage.run_directory import RunDirectory
from tune.storage.tables import read_table, write_table
from vae.checkpoint import load_model, read_config, save_model
from vae.config import Config
from vae.data import load_dataset
from vae.errors import StorageError, UsageError
from vae.inference import embed
from vae.models import build_model

PCA = dict(methods=["pca"], dims=[2])
N_CELLS = 3 * 5 * 2 * 6


def test_the_tables_hold_every_cell_of_every_embedding(evaluated_once):
    table = read_table(evaluated_once.evaluations_file)
    assert table.schema.equals(EVALUATIONS)
    frame = table.to_pandas(integer_object_nulls=True)
    embeddings = frame.groupby(["method", "trial_id", "dim"], dropna=False)
    assert sorted((method, dim) for method, _, dim in embeddings.groups) == [
        ("pca", 2), ("pca", 4), ("pca", 10), ("raw", 64), ("vae", 4), ("vae", 10),
    ]  # fmt: skip
    # 139 images in the smallest class: 50, 100 and all of them; 5 values of k, 2 weights, 5 folds and test;
    # and as in the search, of its validation images and the test images
    assert set(embeddings.size()) == {N_CELLS + 2 + len(STRUCTURE)}
    accuracies = frame[frame["metric"] == "knn_accuracy"]
    assert accuracies["value"].between(0, 1).all()
    tested = accuracies[accuracies["protocol"] == "test"]
    assert tested["value"].between(tested["low"], tested["high"]).all()
    assert set(frame[frame["protocol"] == "cv"]["fold"]) == {0, 1, 2, 3, 4}
    assert set(frame[frame["method"] == "vae"]["trial_id"]) == {"0000-fc-4d", "0001-conv-10d"}
    assert not frame.duplicated(
        [name for name in frame if name not in ("value", "low", "high", "n_train", "n_query", "seconds")]
    ).any()
    assert set(frame["training_seed"].dropna()) == {0}


def test_the_votes_for_each_test_image_are_kept(evaluated_once):
    table = read_table(evaluated_once.predictions_file)
    assert table.schema.equals(PREDICTIONS)
    results = Results.read(evaluated_once)
    for row in results.comparison:
        predictions = results.scores.predictions_of(row.key)
        assert (predictions["predicted"] == predictions["label"]).mean() == pytest.approx(row.test)
    found = results.comparison.difference_to(EmbeddingKey("pca", 2))
    pca = next(row for row in results.comparison if row.key == EmbeddingKey("pca", 2))
    assert found.difference == pytest.approx(results.comparison.winner.test - pca.test, abs=1e-12)
    assert found.low <= found.difference <= found.high


def test_there_is_a_file_for_each_embedding_and_nothing_half_written(evaluated_once):
    files = {
        str(path.relative_to(evaluated_once.embeddings_dir))
        for path in evaluated_once.embeddings_dir.rglob("*.*")
    }
    assert files == {
        "dim=2/name=pca/part-0.parquet",
        "dim=4/name=pca/part-0.parquet",
        "dim=4/name=vae-0000-fc-4d-seed0/part-0.parquet",
        "dim=10/name=pca/part-0.parquet",
        "dim=10/name=vae-0001-conv-10d-seed0/part-0.parquet",
        "dim=64/name=raw/part-0.parquet",
        "_state.json",
    }
    hidden = {evaluated_once.cache_dir, evaluated_once.evaluation_lock_file}
    assert set(evaluated_once.path.rglob(".*")) == hidden


def test_the_record_names_what_the_data_was_too_small_for(evaluated_once):
    gaps = EvaluationRecord.read(evaluated_once.evaluation_file).gaps
    assert [gap.split(" samples")[0] for gap in gaps] == ["500, 1000, 3000"]


def test_evaluating_again_replaces_the_results(evaluated):
    evaluate(evaluated, **PCA, compute=serial.compute, progress=False)
    assert set(read_table(evaluated.evaluations_file)["method"].to_pylist()) == {"pca"}
    assert sorted(path.name for path in evaluated.embeddings_dir.iterdir()) == ["_state.json", "dim=2"]


def test_an_evaluation_that_breaks_off_leaves_the_old_results(evaluated):
    def broken(images, embedders, grid):
        yield from serial.compute(images, embedders, grid)
        raise KeyboardInterrupt

    def content():
        files = [path for path in evaluated.path.rglob("*") if path.is_file()]
        return {p: p.read_bytes() for p in files if evaluated.cache_dir not in p.parents}

    before = content()
    with pytest.raises(KeyboardInterrupt):
        evaluate(evaluated, methods=["pca"], dims=[3], compute=broken, progress=False)
    assert content() == before


def test_a_gap_is_logged_and_recorded_and_the_rest_is_there(study, caplog):
    def with_failure(images, embedders, grid):
        yield from serial.compute(images, [Raising(), *embedders], grid)

    with caplog.at_level(logging.WARNING, "evaluation"):
        evaluate(study, **PCA, compute=with_failure, progress=False)
    gap = "raising 2-d: RuntimeError: no such luck"
    assert f"missing: {gap}" in caplog.messages
    assert gap in EvaluationRecord.read(study.evaluation_file).gaps
    assert "pca" in read_table(study.evaluations_file)["method"].to_pylist()


def test_when_no_embedding_can_be_made_that_is_an_error(study):
    def all_fail(images: Images, embedders, grid):
        yield from serial.compute(images, [_without_first(Raising())], grid)

    with pytest.raises(StorageError, match="no embedding could be made: .*no such luck"):
        evaluate(study, **PCA, compute=all_fail, progress=False)
    assert not study.evaluations_file.exists()


def _without_first(embedder):
    class Failing(type(embedder)):
        def embeddings(self, images, device):
            events = super().embeddings(images, device)
            next(events)
            yield from events

    return Failing()


def test_another_dataset_than_the_one_searched_is_refused(study):
    record = study.read_study()
    record.dataset.fingerprint = "other"
    record.write(study.study_file)
    with pytest.raises(
        UsageError, match="'digits' is not the one that was searched: its fingerprint is .*, was other"
    ):
        evaluate(study, **PCA, compute=serial.compute, progress=False)


@pytest.mark.figures
def test_bare_checkpoints_are_evaluated_under_their_names(study, few_digits, tmp_path):
    checkpoint = shutil.copytree(study.checkpoint_dir("0000-fc-4d"), tmp_path / "mine")
    output = RunDirectory(tmp_path / "output")
    options = dict(methods=["pca", "vae"], dims=[2])
    evaluate(
        [checkpoint],
        dataset=few_digits,
        output=output.path,
        **options,
        compute=serial.compute,
        progress=False,
    )
    table = read_table(output.evaluations_file).to_pandas()
    assert set(table["trial_id"].dropna()) == {"mine"}
    assert output.report_file.exists()
    assert (output.figures_dir / "reconstructions.png").exists()


def test_the_images_of_a_checkpoint_are_resized_as_it_was_trained(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (80, 12, 20), dtype=np.uint8)
    np.savez(tmp_path / "large.npz", images=images, labels=np.arange(80) % 2)
    params = dict(max_epochs=1, latent_dim=2, width=0.1, batch_size=32, progress=False)
    model = vae.train(images, resize=8, **params)
    paths = [tmp_path / "to-8", tmp_path / "to-10"]
    model.save(paths[0])
    save_model(paths[1], model.model, model.config, resize=10)
    options = dict(dataset=tmp_path / "large.npz", methods=["vae"], compute=serial.compute, progress=False)
    output = RunDirectory(tmp_path / "output")
    evaluate(paths[0], output=output.path, **options)
    assert EvaluationRecord.read(output.evaluation_file).dataset.resize == 8
    predictions = read_table(output.predictions_file).to_pylist()
    names = load_dataset(tmp_path / "large.npz", resize=8).sources[1].to_list()
    assert predictions
    assert all(row["source"] == names[row["index"]] for row in predictions)
    shown = sample_images(output, 5, dataset=str(tmp_path / "large.npz"))
    assert shown.images.shape == (5, 1, 8, 8)
    assert shown.columns()["source"] == [names[row] for row in shown.index]
    with pytest.raises(UsageError, match="to-8 and .*to-10 were trained on images resized to 8 and 10"):
        evaluate(paths, output=tmp_path / "both", **options)


def test_of_several_bare_checkpoints_the_best_on_validation_comes_first(study, few_digits, tmp_path):
    for trial_id, value in ((BEST, 0.4), (SECOND, 0.6)):
        loaded = load_model(study.checkpoint_dir(trial_id))
        save_model(
            tmp_path / "all" / trial_id,
            loaded.model,
            loaded.config,
            epoch=1,
            metrics={"val_knn_accuracy": value},
        )
    output = RunDirectory(tmp_path / "output")
    paths = [tmp_path / "all" / BEST, tmp_path / "all" / SECOND]
    evaluate(
        paths, dataset=few_digits, output=output.path, methods=["vae"], compute=serial.compute, progress=False
    )
    assert EvaluationRecord.read(output.evaluation_file).finalists == (SECOND, BEST)
    assert Results.read(output).comparison.winner.key.trial_id == SECOND


def test_two_checkpoints_of_one_name_are_refused(study, few_digits, tmp_path):
    one, other = (tmp_path / folder / "same" for folder in ("a", "b"))
    for path in (one, other):
        shutil.copytree(study.checkpoint_dir(BEST), path)
    with pytest.raises(UsageError, match="two of the VAEs have the same name, vae-same"):
        evaluate([one, other], dataset=few_digits, output=tmp_path / "o", compute=serial.compute)


def test_one_evaluation_at_a_time_works_on_a_run(study):
    def second(images, embedders, grid):
        with pytest.raises(UsageError, match="another evaluation of .* is under way; wait for it"):
            evaluate(study, **PCA, compute=serial.compute, progress=False)
        yield from serial.compute(images, embedders, grid)

    evaluate(study, **PCA, compute=second, progress=False)
    evaluate(study, **PCA, compute=serial.compute, progress=False)


@pytest.mark.figures
def test_images_without_labels_are_embedded_and_the_missing_scores_named(study, unlabelled, tmp_path):
    output = RunDirectory(tmp_path / "output")
    evaluate(
        study.checkpoint_dir("0000-fc-4d"),
        dataset=unlabelled,
        output=output.path,
        methods=["pca", "vae"],
        compute=serial.compute,
        progress=False,
    )
    assert EvaluationRecord.read(output.evaluation_file).gaps == ("KNN accuracy: the dataset has no labels",)
    metrics = set(read_table(output.evaluations_file)["metric"].to_pylist())
    assert metrics == {"trustworthiness", "continuity", "neighborhood_recall"}
    assert (output.figures_dir / "latent_spaces.png").exists()
    assert "the dataset has no labels" in output.report_file.read_text()
    with pytest.raises(UsageError, match="has no KNN accuracy, by which studies are compared"):
        compare_runs([output, output], Console())


def test_progress_goes_to_the_console_as_plain_lines_where_there_is_no_terminal(study):
    console = Console(record=True, force_terminal=False, width=80)
    evaluate(study, **PCA, compute=serial.compute, progress=console)
    lines = console.export_text().splitlines()
    assert lines[0].startswith("evaluating: 4 steps, about ")
    assert lines[1].startswith("4/4 pca 2-d done")


def test_fresh_seeds_are_evaluated_beside_the_finalists_own_models(reseeded_once):
    table = read_table(reseeded_once.evaluations_file).to_pandas(integer_object_nulls=True)
    vaes = table[table["method"] == "vae"]
    assert set(zip(vaes["trial_id"], vaes["training_seed"], strict=True)) == {
        *((BEST, seed) for seed in (0, 1, 2)),
        *((SECOND, seed) for seed in (0, 1, 2, 3)),
    }
    assert table[table["method"] != "vae"]["training_seed"].isna().all()
    assert set(vaes.groupby(["trial_id", "training_seed"]).size()) == {N_CELLS + 2 + len(STRUCTURE)}
    values = vaes.groupby(["trial_id", "training_seed"])["value"].apply(tuple)
    assert values.nunique() == len(values)  # each is another model
    names = {path.parent.name for path in (reseeded_once.embeddings_dir / "dim=10").rglob("*.parquet")}
    assert names == {f"name=vae-{BEST}-seed{seed}" for seed in (0, 1, 2)}


def test_the_record_has_the_finalists_in_the_order_of_their_fresh_seeds(reseeded_once):
    record = EvaluationRecord.read(reseeded_once.evaluation_file)
    assert record.finalists == (SECOND, BEST)
    assert record.training_seeds == {BEST: 0, SECOND: 0}


def test_the_seed_reaches_the_subsets_and_folds_of_the_knn_accuracy(study):
    found = [
        evaluate(study, **PCA, seed=seed, compute=serial.compute, progress=False).scores.query(
            "metric == 'knn_accuracy'"
        )
        for seed in (0, 1)
    ]
    assert [set(scores["seed"]) for scores in found] == [{0}, {1}]
    values = [scores.query("samples_per_class == 50")["value"].tolist() for scores in found]
    assert values[0] != values[1]
    whole = "protocol == 'test' and samples_per_class.isna()"
    assert found[0].query(whole)["value"].tolist() == found[1].query(whole)["value"].tolist()


def test_a_fresh_seed_whose_checkpoint_is_lost_is_a_gap(reseeded):
    shutil.rmtree(reseeded.seed_checkpoint_dir(SECOND, 2))
    evaluate(reseeded, finalists=1, methods=["vae"], compute=serial.compute, progress=False)
    assert (
        any(
            gap.startswith(f"vae-{BEST}-seed") for gap in EvaluationRecord.read(reseeded.evaluation_file).gaps
        )
        is False
    )
    evaluate(reseeded, finalists=2, methods=["vae"], compute=serial.compute, progress=False)
    assert any(
        gap.startswith(f"vae-{SECOND}-seed2 4-d: ")
        for gap in EvaluationRecord.read(reseeded.evaluation_file).gaps
    )


def test_an_ensemble_and_its_members_go_through_to_the_report(study):
    options = dict(methods=["pca", "vae", "ensemble"], dims=[2])
    evaluate(study, finalists=3, **options, compute=serial.compute, progress=False)
    members = "0001-conv-10d+0000-fc-4d+0004-fc-2d"
    results = Results.read(study)
    key = EmbeddingKey("ensemble", 16, members)
    assert results.comparison.keys[-1] == key
    assert embedding_file(study.embeddings_dir, key).exists()
    assert results.comparison.winner.key.trial_id == BEST
    assert [finalist.row.key.method for finalist in finalist_rows(results)] == ["vae"] * 3
    assert study.report_file.read_text().count("ensemble of 3 VAEs") == 4  # a tile, and a row in three tables


def test_an_ensemble_alone_has_members_but_no_winner_of_its_own(study):
    options = dict(methods=["ensemble"])
    evaluate(study, finalists=2, **options, compute=serial.compute, progress=False)
    results = Results.read(study)
    assert [str(key) for key in results.comparison.keys] == ["ensemble-0001-conv-10d+0000-fc-4d 14-d"]
    assert results.comparison.winner is None
    assert "It has no KNN accuracy on the test set." in study.report_file.read_text()


def test_what_is_made_of_the_best_vae_is_not_taken_for_it(reseeded):
    rows = read_table(reseeded.evaluations_file).to_pylist()
    umap = [row | {"method": "vae_umap", "dim": 2, "value": 1.0} for row in rows if row["trial_id"] == SECOND]
    write_table(rows + umap, EVALUATIONS, reseeded.evaluations_file)
    results = Results.read(reseeded)
    assert results.comparison.winner.key == EmbeddingKey("vae", 4, SECOND, 0)
    assert {key.method for key in fresh_seed_keys(results, SECOND)} == {"vae"}
    assert [finalist.row.key.method for finalist in finalist_rows(results)] == ["vae", "vae"]


def test_a_conditional_vae_is_named_and_told_no_label_of_the_images(study):
    trial_id = BEST
    saved = read_config(study.checkpoint_dir(trial_id))
    config = Config.from_params(saved.config.to_params() | {"conditional": True})
    model = build_model(config.model, saved.image_shape, seed=1, n_classes=10)
    save_model(study.checkpoint_dir(trial_id), model, config)
    options = dict(methods=["vae"])
    evaluate(study, finalists=2, **options, compute=serial.compute, progress=False)
    assert EvaluationRecord.read(study.evaluation_file).trained_with_labels == (trial_id,)
    sentence = labels_sentence(Results.read(study))
    assert sentence is not None
    assert sentence.startswith(f"trained with labels (conditional): {trial_id};")
    assert "Labels were used" in study.report_file.read_text()
    stored = read_embedding(study.embeddings_dir, EmbeddingKey("vae", 10, trial_id, config.training.seed))
    images = load_dataset("digits").test.images
    np.testing.assert_allclose(stored.test, embed(model.eval(), images).numpy(), atol=1e-5)
