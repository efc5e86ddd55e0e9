"""A new method is one class and one entry: command line, tables, cache, figures and report follow."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.analysis.results import Results
from evaluation.api import evaluate
from evaluation.embedders import METHODS, Embedding, EmbeddingKey, Images, Reduction, label
from evaluation.embedders.files import read_embedding
from evaluation.figures.latent_spaces import latent_space_panels
from evaluation.pipeline import serial
from evaluation.pipeline.plan import Options


@dataclass(frozen=True, slots=True)
class RandomProjection(Reduction):
    """Pixels projected on random directions."""

    name = "random"
    title = "random projection"
    description = "the pixels on random directions"
    colour = "#123456"

    def embeddings(self, images: Images, device: str) -> Iterator[Embedding]:
        train, test = images.pixels()
        for key in self.keys:
            directions = np.random.default_rng(self.seed).normal(size=(train.shape[1], key.dim))
            yield Embedding(key, (train @ directions).astype("f4"), (test @ directions).astype("f4"))


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(METHODS, RandomProjection.name, RandomProjection)


@pytest.mark.figures
@pytest.mark.usefixtures("toy")
def test_a_new_method_goes_through_to_tables_figures_and_report(study):
    options = dict(methods=["vae", "random"], dims=[2, 10])
    evaluate(study, finalists=1, **options, compute=serial.compute, progress=False)
    results = Results.read(study)
    names = [str(key) for key in results.comparison.keys]
    assert names == ["vae-0001-conv-10d-seed0 10-d", "random 2-d", "random 10-d"]
    assert [row.key for row in results.comparison.baselines] == [EmbeddingKey("random", 10)]
    assert read_embedding(study.embeddings_dir, EmbeddingKey("random", 2)).test.shape == (359, 2)
    titles = [panel.title for panel in latent_space_panels(study, results)]
    assert titles == ["random projection", "VAE 0001-conv-10d"]
    assert "random projection" in study.report_file.read_text()
    assert "#123456" in (study.figures_dir / "accuracy.svg").read_text()


@pytest.mark.usefixtures("toy")
def test_a_new_method_is_named_in_the_help_and_not_run_unless_asked_for(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "random, the pixels on random directions" in text
    assert not Options().wants("random")


def test_every_method_is_entered_under_its_own_name():
    assert {name: method.name for name, method in METHODS.items()} == {name: name for name in METHODS}
    assert len({method.colour for method in METHODS.values()}) == len(METHODS)


def test_methods_and_trials_have_names_for_readers():
    assert label(EmbeddingKey("raw", 64)) == "raw pixels"
    assert label(EmbeddingKey("pca_umap", 2)) == "PCA + UMAP"
    assert label(EmbeddingKey("vae_umap", 2, "0001-fc", 3)) == "VAE + UMAP 0001-fc"
    assert label(EmbeddingKey("of a later version", 2)) == "of a later version"
