"""The examples of README and docs in Python and SQL run as they stand, page by page, on a small study."""

import os
import re
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml

import evaluation
import tune
from evaluation.analysis.results import Results
from tests.docs import small
from tests.docs.pages import LANGUAGES, PAGES, ROOT, Block, all_blocks, blocks
from tune.space.file import load_space
from vae.data import load_dataset

RESULTS = ROOT / "docs" / "results.md"
STUDY = "runs/NAME"
"""What the examples call the study."""


@pytest.fixture
def beside_the_study(evaluated, tmp_path, monkeypatch):
    os.symlink(evaluated.path, tmp_path / STUDY)
    monkeypatch.chdir(tmp_path)


def run(block: Block, names: dict[str, Any]) -> None:
    """Run one block with the names that earlier ones of its page have made."""
    if block.language == "sql":
        for statement in filter(str.strip, block.text.split(";")):
            assert duckdb.sql(statement).fetchall(), block.place
    else:
        exec(compile("\n" * block.line + block.text, str(block.page), "exec"), names)


def name_of(value: Any) -> str:
    return str(value.relative_to(ROOT))


def runs_here(block: Block) -> bool:
    return block.language in ("python", "sql")


def searches(page: Path) -> bool:
    return any("tune.search(" in block.text for block in blocks(page) if block.language == "python")


PAGES_THAT_RUN = [page for page in PAGES if any(map(runs_here, blocks(page)))]


@pytest.mark.usefixtures("beside_the_study")
@pytest.mark.parametrize("page", [page for page in PAGES_THAT_RUN if not searches(page)], ids=name_of)
def test_every_example_runs_and_finds_rows(page):
    run_page(page)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster", "beside_the_study")
@pytest.mark.parametrize("page", [page for page in PAGES_THAT_RUN if searches(page)], ids=name_of)
def test_every_example_of_a_page_that_searches_runs(page, monkeypatch):
    """As it stands, but for the size of the search."""
    monkeypatch.setattr(tune, "search", small.search)
    monkeypatch.setattr(evaluation, "evaluate", small.evaluate)
    run_page(page)


def run_page(page: Path) -> None:
    names: dict[str, Any] = {}
    for block in filter(runs_here, blocks(page)):
        run(block, names)
    for name, value in names.items():
        if isinstance(value, pd.DataFrame | pl.DataFrame):
            assert len(value), f"{page.name}: {name}"


@pytest.mark.usefixtures("beside_the_study")
def test_pandas_polars_and_duckdb_give_the_same_comparison(evaluated):
    answers = []
    for block in [block for block in blocks(RESULTS) if block.language in ("python", "sql")][:3]:
        if block.language == "sql":
            answers.append(duckdb.sql(block.text).fetchall())
        else:
            names: dict[str, Any] = {}
            run(block, names)
            best = names["best"]
            answers.append(
                best.rows() if isinstance(best, pl.DataFrame) else list(best.itertuples(index=False))
            )
    tables = [sorted((method, dim, value) for method, dim, _, value, *_ in rows) for rows in answers]
    assert len(tables[0]) == len(Results.read(evaluated).comparison.keys)
    assert tables[0] == tables[1] == tables[2]


def test_pandas_duckdb_and_polars_are_all_shown():
    text = "".join(f"{block.language} {block.text}" for block in blocks(RESULTS))
    for reader in ("import pandas", "sql ", "import polars"):
        assert reader in text


def test_no_test_tile_of_the_example_overlaps_a_training_tile(tmp_path, monkeypatch):
    """Each tile is looked for, pixel by pixel, in the photographs, at every place where it could be."""
    monkeypatch.chdir(tmp_path)
    [block] = [block for block in blocks(ROOT / "docs" / "data.md") if block.language == "python"]
    run(block, names := {})
    dataset = load_dataset(str(tmp_path / "tiles.parquet"))
    side = names["SIDE"]
    covered: dict[str, np.ndarray] = {}
    for part, images in (("train", dataset.train.images), ("test", dataset.test.images)):
        tiles = images.permute(0, 2, 3, 1).numpy()
        covered[part] = np.stack(
            [where(tiles, photo, side) for photo in names["load_sample_images"]().images]
        )
    assert covered["train"].any()
    assert covered["test"].any()
    assert not (covered["train"] & covered["test"]).any()
    assert len(dataset.train) > 500 < 10 * len(dataset.test)


def where(tiles: np.ndarray, photo: np.ndarray, side: int) -> np.ndarray:
    """Return which pixels of a photograph (H, W) lie in one of the tiles, wherever on it they were cut."""
    known = {tile.tobytes() for tile in tiles}
    windows = np.lib.stride_tricks.sliding_window_view(photo, (side, side), axis=(0, 1))
    mask = np.zeros(photo.shape[:2], dtype=bool)
    for y, x in np.ndindex(windows.shape[:2]):
        if np.ascontiguousarray(windows[y, x].transpose(1, 2, 0)).tobytes() in known:
            mask[y : y + side, x : x + side] = True
    return mask


def test_every_example_says_its_language():
    for page in PAGES:
        for block in blocks(page):
            assert block.language in LANGUAGES, f"{block.place}: ```{block.language}"


def test_the_yaml_of_the_search_page_is_a_search_space(tmp_path):
    for block in all_blocks("yaml"):
        assert isinstance(yaml.safe_load(block.text), dict), block.place
        if block.page.name == "search.md":
            (tmp_path / "my.yaml").write_text(block.text)
            assert load_space(tmp_path / "my.yaml").searched


def test_the_readme_and_the_benchmarks_stay_short():
    for name, most in (("README.md", 150), ("BENCHMARKS.md", 200)):
        assert len((ROOT / name).read_text().splitlines()) <= most, name


def test_every_link_between_files_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
