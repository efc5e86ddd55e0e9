"""A page in headless Chromium, driven over its DevTools protocol."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


class Page:
    """One open page; ``complaints`` are its exceptions and console errors so far."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._calls = 0
        self.complaints: list[Any] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._calls += 1
        await self._socket.send_json({"id": self._calls, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=30)
            if message.get("id") == self._calls:
                return message["result"]
            kind, details = message.get("method"), message.get("params", {})
            if kind in ("Runtime.exceptionThrown", "Log.entryAdded") or (
                kind == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning")
            ):
                self.complaints.append(details)

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Send a mousePressed, mouseMoved or mouseReleased."""
        await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    async def press(self, key: str) -> None:
        """Press a key, such as ``ArrowRight``, and let it go."""
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key)


@asynccontextmanager
async def open_page(place: Path | str, *, width: int = 1200, height: int = 1000) -> AsyncIterator[Page]:
    """Open a file without a network, or an address, in a window of that size."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        process = subprocess.Popen(
            [CHROMIUM, *options, f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "DevTools listening" in line)
            host = line.split("ws://")[1].split("/")[0]
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://{host}/json") as response:
                    tab = next(tab for tab in await response.json() if tab["type"] == "page")
                async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    page = Page(socket)
                    for domain in ("Runtime", "Log", "Page", "Network"):
                        await page.call(f"{domain}.enable")
                    await page.call(
                        "Emulation.setDeviceMetricsOverride",
                        width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
                    )  # fmt: skip
                    await page.call(
                        "Network.emulateNetworkConditions",
                        offline=isinstance(place, Path),
                        latency=0, downloadThroughput=-1, uploadThroughput=-1,
                    )  # fmt: skip
                    await page.call("Page.navigate", url=place.as_uri() if isinstance(place, Path) else place)
                    for _ in range(100):
                        if await page.evaluate("document.readyState") == "complete":
                            break
                        await asyncio.sleep(0.1)
                    yield page
        finally:
            process.kill()
            process.wait()
