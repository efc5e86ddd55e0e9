"""The part of the report that one can touch: what it is given, and how it behaves in a browser."""

import asyncio
import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from evaluation.analysis.results import Results
from evaluation.figures.style import MUTED
from evaluation.report import page
from evaluation.report.explorer import explorer
from tests.browser import needs_browser, open_page
from vae.data import Dataset, ImageSet, load_dataset

TIP = "getComputedStyle(document.querySelector('.explorer-tip')).display"
COPIER = "document.querySelector('.explorer-copy').{}"
TEMPLATE = Path(page.__file__).with_name("template.html.jinja")
POINTED_PLACE = (
    "(({panels: [{x, y}]}, row) => [x[row], y[row]])("
    "JSON.parse(document.getElementById('explorer-data').textContent), "
    "Number(document.querySelector('.explorer-tip').innerText.match(/test\\/([0-9]+)/)[1]))"
)
STATUS = "document.querySelector('.explorer-status').textContent"


@pytest.fixture
def given(evaluated_once, digits):
    return explorer(evaluated_once, Results.read(evaluated_once), digits)


def test_it_has_every_panel_and_every_image_with_its_vote(given, evaluated_once, digits):
    assert [panel["title"] for panel in given["panels"]] == ["PCA", "VAE 0001-conv-10d"]
    assert [panel["winner"] for panel in given["panels"]] == [False, True]
    n = len(digits.test)
    assert given["index"] == list(range(n))
    assert given["labels"] == digits.test.labels.tolist()
    results = Results.read(evaluated_once)
    assert (
        given["predicted"]
        == results.scores.predictions_of(results.comparison.winner.key)["predicted"].tolist()
    )
    for panel in given["panels"]:
        assert len(panel["x"]) == len(panel["y"]) == n
        assert {min(panel["x"]), max(panel["x"])} == {0, 10_000}
    json.dumps(given, allow_nan=False)


def test_the_sprite_holds_each_image_in_its_place(given, digits):
    sprite = given["sprite"]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(sprite["src"].split(",")[1]))).convert("L"))
    for row in (0, 7, 300):
        top, left = (8 * place for place in divmod(row, sprite["columns"]))
        tile = sheet[top : top + 8, left : left + 8].astype(float)
        errors = np.abs(tile - digits.test.images[:, 0].numpy().astype(float)).mean((1, 2))
        assert errors.argmin() == row


def test_colour_images_without_labels_have_neither_classes_nor_votes(evaluated_once, digits):
    images = digits.test.images.repeat(1, 3, 1, 1)
    coloured = Dataset("c", digits.train, ImageSet(images, None), (), "c")
    given = explorer(evaluated_once, Results.read(evaluated_once), coloured)
    assert (given["labels"], given["predicted"], given["classes"], given["colours"]["dark"]) == (
        None,
        None,
        [],
        [MUTED],
    )


@pytest.mark.parametrize(("scheme", "card", "least"), [("light", "#ffffff", 1.6), ("dark", "#1d2029", 3)])
def test_every_class_can_be_seen_on_the_page(given, scheme, card, least):
    """WCAG 2.1 wants a contrast of 3 for dots; yellow and orange have less on white, as any have."""

    def luminance(colour):
        parts = np.array(to_rgb(colour))
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    assert f"--card: {card}" in TEMPLATE.read_text()
    for colour in given["colours"][scheme]:
        low, high = sorted([luminance(colour), luminance(card)])
        assert (high + 0.05) / (low + 0.05) >= least, colour


def test_without_embeddings_there_is_nothing_to_explore(evaluated, digits):
    shutil.rmtree(evaluated.embeddings_dir)
    assert explorer(evaluated, Results.read(evaluated), digits) is None


@needs_browser
@pytest.mark.parametrize("width", [1200, 390])
def test_in_a_browser_one_points_selects_and_hides(evaluated_once, width):
    assert evaluated_once.report_file.stat().st_size < 15e6
    asyncio.run(_touch(evaluated_once, width))


async def _touch(run, width):
    async with open_page(run.report_file, width=width) as page:
        assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), "it is too wide"
        await page.evaluate("document.getElementById('explorer').scrollIntoView()")
        x, y, w, h = await page.evaluate(
            "(b => [b.x, b.y, b.width, b.height])(document.querySelector('.explorer-canvas')"
            ".getBoundingClientRect())"
        )
        labels = load_dataset("digits").test.labels
        assert f"{len(labels)} test images" in await page.evaluate(STATUS)
        for share in np.linspace(0.1, 0.9, 60):
            await page.mouse("mouseMoved", x + w * share, y + h * 0.5)
            if await page.evaluate(TIP) == "flex":
                break
        assert "test/" in await page.evaluate("document.querySelector('.explorer-tip').innerText")
        assert await page.evaluate(COPIER.format("style.display")) == "none"
        held = {"button": "left", "buttons": 1, "clickCount": 1}
        await page.mouse("mousePressed", x + 2, y + 2, **held)
        await page.mouse("mouseMoved", x + w / 2, y + h / 2, **held)
        await page.mouse("mouseReleased", x + w - 2, y + h - 2, button="left", clickCount=1)
        assert (await page.evaluate(STATUS)).startswith(f"{len(labels)} selected: ")
        assert await page.evaluate("document.querySelectorAll('.explorer-strip canvas').length") == 48
        assert await page.evaluate(COPIER.format("textContent")) == f"Copy the {len(labels)} sources"
        await page.evaluate(COPIER.format("click()"))
        copied = await page.evaluate("document.querySelector('.explorer-copied').value")
        assert copied.split() == [f"test/{row}" for row in range(len(labels))]
        await page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        await page.evaluate(COPIER.format("click()"))  # as where a page from a file may not write to it
        assert await page.evaluate(COPIER.format("textContent")) == "Copy the lines below"
        marked = (
            "(t => [t === document.activeElement, t.offsetHeight > 20, t.selectionEnd === t.value.length])"
        )
        assert await page.evaluate(f"{marked}(document.querySelector('.explorer-copied'))") == [True] * 3
        await page.evaluate("document.querySelector('.explorer-legend button').click()")
        assert int((await page.evaluate(STATUS)).split()[0]) == (labels != 0).sum()
        await _step_and_tap(page, len(labels), x, y, w, h)
        assert page.complaints == []


async def _step_and_tap(page, n, x, y, w, h):
    canvas = "document.querySelector('.explorer-canvas')"
    caption = "document.querySelector('.explorer-tip').innerText"
    await page.evaluate(f"{canvas}.focus({{preventScroll: true}})")
    for _ in range(2):
        await page.press("Escape")
    assert f"{n} test images" in await page.evaluate(STATUS)
    places = []
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowUp"):
        await page.press(key)
        places.append(await page.evaluate(POINTED_PLACE))
    assert places[0][0] < places[1][0] < places[2][0]
    assert places[3][1] > places[2][1]
    await page.press("Enter")
    assert (await page.evaluate(STATUS)).startswith("1 selected")
    await page.press("Enter")
    assert f"{n} test images" in await page.evaluate(STATUS)
    await page.press("Escape")
    assert await page.evaluate(TIP) == "none"
    for share in np.linspace(0.3, 0.7, 9):
        finger = {"x": x + w * share, "y": y + h * 0.5}
        await page.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[finger])
        await page.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        if await page.evaluate(TIP) == "flex":
            break
    assert "test/" in await page.evaluate(caption)
