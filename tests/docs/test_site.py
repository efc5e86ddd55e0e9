"""The site of `make docs`: built without a warning, complete, with nothing that comes from elsewhere."""

import asyncio
import os
import re
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.browser import needs_browser, open_page
from tests.docs.pages import ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(directory)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return directory


def test_every_page_is_in_it_and_in_its_navigation(site):
    index = (site / "index.html").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / page.with_suffix(".html").name).exists()
        assert f'href="{page.stem}.html"' in index or page.stem == "index"


def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=[\"']?([^\"' >]+)", page.read_text()
        )
        assert loaded
        assert not [address for address in loaded if "//" in address], page.name
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text()


@pytest.fixture
def address(site):
    """The site as `make docs-serve` serves it, on a free port."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


@needs_browser
def test_the_search_finds_a_page(address):
    assert "Pareto front" in asyncio.run(search(address, "pareto"))


async def search(address: str, words: str) -> str:
    """Return what the page's own search shows for these words."""
    async with open_page(address) as page:
        await page.evaluate("document.querySelector('#__search').click()")
        await page.evaluate("document.querySelector('.md-search__input').focus()")
        await page.call("Input.insertText", text=words)
        for _ in range(100):
            if await page.evaluate("document.querySelectorAll('.md-search-result__item').length"):
                break
            await asyncio.sleep(0.1)
        assert not page.complaints
        return await page.evaluate("document.querySelector('.md-search-result').innerText")
