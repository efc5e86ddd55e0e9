"""The search that one can touch: what it is given, and how it behaves in a browser."""

import asyncio
import json

import pytest

from evaluation.analysis.results import Results
from evaluation.report.page import write_report
from evaluation.report.search_view import search_view
from tests.browser import needs_browser, open_page
from tests.evaluation.searches import write_search

STATUS = "document.querySelector('.search-status').textContent"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = write_search(tmp_path_factory.mktemp("view") / "run")
    write_report(run)
    return run


def test_it_has_every_trial_with_its_values_and_its_outcome(run):
    results = Results.read(run)
    given = search_view(results)
    json.dumps(given, allow_nan=False)
    assert [trial["id"] for trial in given["trials"]] == [row["trial_id"] for row in results.trial_rows]
    assert [axis["name"] for axis in given["axes"]][-2:] == ["learning rate", "KNN accuracy"]
    assert given["categories"] == ["completed", "stopped at a rung", "failed", "cut short", "open"]
    best, row = given["trials"][0], results.trial_rows[0]
    assert best["winner"]
    assert best["outcome"] == "completed after 9 epochs"
    assert best["values"][0] == row["config_architecture"]
    assert best["values"][-1] == f"{100 * row['objective']:.1f} %"
    lost = next(
        trial for trial in given["trials"] if trial["outcome"] == "failed: out of memory after 0 epochs"
    )
    assert (lost["places"][-1], lost["values"][-1]) == (None, "no value")
    assert any(trial["outcome"] == "running after 1 epoch" for trial in given["trials"])


def test_a_search_of_hundreds_of_trials_stays_small(tmp_path):
    given = search_view(Results.read(write_search(tmp_path / "run", 400)))
    assert len(json.dumps(given)) < 200_000


def test_without_a_space_there_is_nothing_to_touch(tmp_path):
    run = write_search(tmp_path / "run", 4)
    run.study_file.write_text('{"name": "run"}')
    assert search_view(Results.read(run)) is None
    write_report(run)
    assert 'id="search-view"' not in run.report_file.read_text()


@needs_browser
@pytest.mark.parametrize("width", [1200, 390])
def test_in_a_browser_one_points_steps_and_hides(run, width):
    asyncio.run(_touch(run, width))


async def _touch(run, width):
    results = Results.read(run)
    given = search_view(results)
    async with open_page(run.report_file, width=width) as page:
        assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), "it is too wide"
        lines = "document.querySelectorAll('.search-svg > polyline').length"
        assert await page.evaluate(lines) == len(given["trials"])
        assert (await page.evaluate(STATUS)).startswith("40 trials, each a line")

        # A place on the winner's line, halfway between its first two axes: nothing lies closer.
        await page.evaluate("document.getElementById('search-view').scrollIntoView()")
        x, y = await page.evaluate(
            "(line => { const svg = line.ownerSVGElement.getBoundingClientRect(), [a, b] = line.points;"
            " return [svg.x + (a.x + b.x) / 2, svg.y + (a.y + b.y) / 2]; })"
            "(document.querySelector('.search-svg polyline.winner'))"
        )
        await page.mouse("mouseMoved", x, y)
        winner = given["trials"][0]
        text = await page.evaluate(STATUS)
        assert text.startswith(f"{winner['id']}, the winner: KNN accuracy {winner['values'][-1]}, completed")
        for axis, value in zip(given["axes"][:-1], winner["values"], strict=False):
            assert f"{axis['name']} {value}" in text
        assert await page.evaluate("document.querySelectorAll('.search-svg .shown').length") == 1
        await page.mouse("mouseMoved", x, 1)
        assert (await page.evaluate(STATUS)).startswith("40 trials")

        await page.evaluate("document.querySelector('.search-svg').focus()")
        for step in range(3):
            await page.press("ArrowRight")
            assert (await page.evaluate(STATUS)).startswith(given["trials"][step]["id"])
        await page.press("ArrowLeft")
        assert (await page.evaluate(STATUS)).startswith(given["trials"][1]["id"])
        await page.press("Escape")
        assert (await page.evaluate(STATUS)).startswith("40 trials")

        await page.evaluate("document.querySelector('#search-view .explorer-legend button').click()")
        hidden = "document.querySelectorAll('.search-svg > polyline[style*=\"display: none\"]').length"
        assert await page.evaluate(hidden) == (results.trials["status"] == "completed").sum()
        await page.mouse("mouseMoved", x, y)
        assert not (await page.evaluate(STATUS)).startswith(winner["id"])
        await page.evaluate("document.querySelector('.search-svg').focus()")
        await page.press("Escape")
        await page.press("ArrowRight")
        first_left = next(trial for trial in given["trials"] if trial["category"] != "completed")
        assert (await page.evaluate(STATUS)).startswith(first_left["id"])
        assert page.complaints == []
