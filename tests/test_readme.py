"""The README's snippets that load results run as they stand, on a small study."""

import os
import re
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest

from evaluation.analysis.results import Results

README = Path(__file__).parents[1] / "README.md"
HEADING = "## Loading the results"
STUDY = "runs/NAME"
"""What the snippets call the study."""


def snippets() -> list[tuple[str, str]]:
    """Return language and text of each code block below the heading, up to the next one."""
    _, found, after = README.read_text(encoding="utf-8").partition(HEADING)
    assert found, f"README.md has no section '{HEADING}'"
    section = re.split(r"^## ", after, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```(python|sql)\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    assert blocks, f"the section '{HEADING}' has no python or sql block"
    return blocks


@pytest.fixture
def beside_the_study(evaluated, tmp_path, monkeypatch):
    os.symlink(evaluated.path, tmp_path / STUDY)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("beside_the_study")
def test_every_snippet_runs_and_finds_rows():
    for language, text in snippets():
        if language == "sql":
            for statement in filter(str.strip, text.split(";")):
                assert duckdb.sql(statement).fetchall(), statement
        else:
            names: dict[str, object] = {}
            exec(compile(text, str(README), "exec"), names)
            tables = [value for value in names.values() if isinstance(value, pd.DataFrame | pl.DataFrame)]
            assert tables, text
            assert all(len(table) for table in tables), text


@pytest.mark.usefixtures("beside_the_study")
def test_pandas_polars_and_duckdb_give_the_same_comparison(evaluated):
    answers = []
    for language, text in snippets()[:3]:
        if language == "sql":
            answers.append(duckdb.sql(text).fetchall())
        else:
            names: dict[str, object] = {}
            exec(compile(text, str(README), "exec"), names)
            best = names["best"]
            answers.append(
                best.rows() if isinstance(best, pl.DataFrame) else list(best.itertuples(index=False))
            )
    tables = [sorted((method, dim, value) for method, dim, _, value, *_ in rows) for rows in answers]
    assert len(tables[0]) == len(Results.read(evaluated).keys)
    assert tables[0] == tables[1] == tables[2]


def test_pandas_duckdb_and_polars_are_all_shown():
    text = "".join(f"{language} {block}" for language, block in snippets())
    for reader in ("import pandas", "sql ", "import polars"):
        assert reader in text
