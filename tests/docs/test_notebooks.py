"""The notebooks run from top to bottom, and lie here without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SMALL = """
import evaluation
import tune
from evaluation.report import page
from tests.docs import small

tune.search, evaluation.evaluate = small.search, small.evaluate
page.write_figures = lambda *_, **__: None
"""
"""Two short trials, one Ray, a report without figures: the same notebook in a fraction of the time."""


@pytest.fixture(autouse=True)
def _of_this_checkout(monkeypatch):
    """The notebooks' process has another working directory."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def run(name, directory, first=""):
    """Run a notebook after ``first``; return its texts, joined, and how many pictures it drew."""
    notebook = nbformat.read(DOCS / name, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(directory)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output["data"] for output in outputs if "data" in output]
    return "\n".join(data.get("text/plain", "") for data in shown), sum("image/png" in data for data in shown)


@pytest.mark.parametrize("name", sorted(path.name for path in DOCS.glob("*.ipynb")))
def test_it_is_clean(name):
    notebook = nbformat.read(DOCS / name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_the_analysis_goes_from_a_study_to_the_answer(evaluated, monkeypatch, tmp_path):
    monkeypatch.setenv("RUN", str(evaluated.path))
    texts, n_pictures = run("analysis.ipynb", tmp_path)
    assert "0001-conv-10d against pca 10-d" in texts
    assert "trustworthiness" in texts
    assert n_pictures == 3


@pytest.mark.slow
@pytest.mark.ray
def test_the_quickstart_goes_from_arrays_to_a_search_to_an_embedding(tmp_path):
    """In a process of its own, as Jupyter runs it, which starts and stops its own Ray."""
    texts, n_pictures = run("quickstart.ipynb", tmp_path, first=SMALL)
    assert "Trial(" in texts
    assert texts.count(" images/s ") == 1  # the progress is one line that is replaced
    assert "raw pixels" in texts
    assert "UMAP" in texts
    assert n_pictures == 3
